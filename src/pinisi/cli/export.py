"""`pinisi export`: writes a run's checkpoint as a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pinisi.base.errors import CheckpointError


def add(commands: Any) -> None:
    """Adds the command."""
    export = commands.add_parser("export", help="write a run's checkpoint as a Hugging Face folder")
    export.add_argument("folder", metavar="RUN", help="the run's folder")
    export.add_argument("--out", required=True, help="the folder to write")
    export.add_argument("--step", type=int, help="the checkpoint's step; the newest if left out")
    export.add_argument(
        "--best", action="store_true", help="the checkpoint of the least held-out loss (see checkpoint.best)"
    )
    export.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="of the weights; the run's own if left out",
    )
    export.add_argument(
        "--average",
        type=_average,
        metavar="N|ema",
        help="the mean of the last N checkpoints, or the moving average that the run keeps (optimizer.average)",
    )
    export.add_argument(
        "--adapter", action="store_true", help="of a run with [lora]: the adapters alone, as peft loads them"
    )
    export.add_argument("--tokenizer", help="a folder with a tokenizer; the run's own if left out")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.train.export import export

    if options.best:
        options.step = _best(options)
    print(
        export(
            Path(options.folder),
            Path(options.out),
            step=options.step,
            dtype=options.dtype,
            tokenizer=options.tokenizer,
            average=options.average,
            adapter=options.adapter,
        )
    )
    return 0


def _average(text: str) -> int | str:
    if text != "ema" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of checkpoints nor ema")
    return text if text == "ema" else int(text)


def _best(options: argparse.Namespace) -> int:
    from pinisi.train.best import best_step

    found = None if options.step is not None else best_step(Path(options.folder))
    if found is None:
        raise CheckpointError(
            f"{options.folder} has no checkpoint of an evaluation (or --step was given, too): leave --best out"
        )
    return found
