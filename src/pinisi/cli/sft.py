"""`pinisi sft`: fine-tunes a model on chats, and writes it as a Hugging Face folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pinisi.base import terminal


def add(commands: Any) -> None:
    """Adds the command."""
    sft = commands.add_parser("sft", help="fine-tune a model on chats (or go on): answers alone are trained")
    sft.add_argument("model", metavar="MODEL", help="a Hugging Face folder or hub id, with a chat template")
    sft.add_argument(
        "chats", metavar="CHATS", help="a file, folder or pattern of chats (.jsonl, .json, .parquet)"
    )
    sft.add_argument(
        "--out", metavar="FOLDER", required=True, help="the run's folder; the model in FOLDER/model"
    )
    sft.add_argument(
        "--epochs", type=float, default=1.0, metavar="N", help="times through CHATS (default: %(default)g)"
    )
    sft.add_argument("--then", metavar="CHATS", help="chats of a second stage, such as selected ones")
    sft.add_argument(
        "--then-epochs",
        type=float,
        default=3.0,
        metavar="N",
        help="times through those (default: %(default)g)",
    )
    sft.add_argument(
        "--sequence",
        type=int,
        default=1024,
        metavar="S",
        help="tokens of a row of chats (default: %(default)s)",
    )
    sft.add_argument(
        "--ranks", type=int, default=1, metavar="N", help="processes of the pipeline (default: 1)"
    )
    sft.add_argument(
        "--lora",
        type=int,
        default=0,
        metavar="RANK",
        help="train adapters of this rank alone, and write them to FOLDER/adapter, too",
    )
    sft.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="key=value",
        help="keys of the run's configuration, such as optimizer.learning_rate=1e-5",
    )
    sft.set_defaults(run=_sft)


def _sft(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.launch.ranks import warm_up

    warm_up()
    from pinisi.cookbook.sft import SftOptions, sft
    from pinisi.launch.run import start

    names = ("model", "chats", "epochs", "then", "then_epochs", "sequence", "ranks", "lora")
    given = SftOptions(out=Path(options.out), **{name: getattr(options, name) for name in names})
    with terminal.heard_or_not():
        code, model = sft(given, options.set, start)
        if model is not None:
            from pinisi.report import write_report

            print(f"report: {write_report(Path(options.out))}")
            print(f"model: {model}; talk to it: pinisi generate {model} 'Hello' --chat")
        sys.stdout.flush()
    return code
