"""`pinisi prefer`: trains a model on pairs of answers, of which one is preferred, and writes it as a Hugging Face folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pinisi.base import terminal

SETTINGS = {  # of the losses
    "beta": "how far the model may go from the reference",
    "alpha": "of lr_dpo: what a token of length costs",
    "gamma": "of simpo: the margin",
}


def add(commands: Any) -> None:
    """Adds the command."""
    prefer = commands.add_parser(
        "prefer", help="train a model on pairs of a chosen and a rejected answer (or go on)"
    )
    prefer.add_argument(
        "model", metavar="MODEL", help="a Hugging Face folder or hub id, with a chat template"
    )
    prefer.add_argument(
        "pairs",
        metavar="PAIRS",
        help="a file, folder or pattern of pairs (.jsonl, .json, .parquet): prompt, chosen, rejected, as texts or as messages",
    )
    prefer.add_argument(
        "--out", metavar="FOLDER", required=True, help="the run's folder; the model in FOLDER/model"
    )
    prefer.add_argument(
        "--loss", metavar="NAME", default="lr_dpo", help="dpo, lr_dpo, ln_dpo or simpo (default: %(default)s)"
    )
    for name, about in SETTINGS.items():
        prefer.add_argument(f"--{name}", type=float, metavar="X", help=f"{about}; the loss' own if left out")
    prefer.add_argument(
        "--reference",
        metavar="MODEL",
        help="the model that log-probabilities are compared with; MODEL if left out",
    )
    prefer.add_argument("--held-out", metavar="PAIRS", help="pairs to judge by, before and after")
    prefer.add_argument(
        "--epochs", type=float, default=1.0, metavar="N", help="times through PAIRS (default: %(default)g)"
    )
    prefer.add_argument(
        "--sequence",
        type=int,
        default=1024,
        metavar="S",
        help="tokens of a row of answers (default: %(default)s)",
    )
    prefer.add_argument(
        "--ranks", type=int, default=1, metavar="N", help="processes of the pipeline (default: 1)"
    )
    prefer.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="key=value",
        help="keys of the run's configuration, such as optimizer.learning_rate=1e-6",
    )
    prefer.set_defaults(run=_prefer)


def _prefer(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.launch.ranks import warm_up

    warm_up()
    from pinisi.cookbook.prefer import PreferOptions, prefer
    from pinisi.launch.run import start

    names = ("model", "pairs", "loss", "reference", "held_out", "epochs", "sequence", "ranks")
    settings = {name: getattr(options, name) for name in SETTINGS}
    given = PreferOptions(
        out=Path(options.out),
        settings={name: value for name, value in settings.items() if value is not None},
        **{name: getattr(options, name) for name in names},
    )
    with terminal.heard_or_not():
        code, model = prefer(given, options.set, start)
        if model is not None:
            from pinisi.report import write_report

            print(f"report: {write_report(Path(options.out))}")
            print(f"model: {model}; talk to it: pinisi generate {model} 'Hello' --chat")
        sys.stdout.flush()
    return code
