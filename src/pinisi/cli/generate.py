"""`pinisi generate`: prints how a model goes on with a text."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    generate = commands.add_parser(
        "generate", help="print how a run's model, or a folder's, goes on with a text"
    )
    generate.add_argument(
        "source",
        metavar="RUN|FOLDER",
        help="a run's folder (its newest checkpoint), or a Hugging Face folder",
    )
    generate.add_argument(
        "text", metavar="TEXT", help="what it goes on from, taken as it stands: no chat template"
    )
    generate.add_argument(
        "--tokens", type=int, default=64, metavar="N", help="new tokens at most (default: %(default)s)"
    )
    generate.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="above 0: draw tokens instead of taking the likeliest (default: %(default)g)",
    )
    generate.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the draws (default: %(default)s)"
    )
    generate.set_defaults(run=_generate)


def _generate(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.train.generate import generate

    said = generate(
        options.source,
        options.text,
        tokens=options.tokens,
        temperature=options.temperature,
        seed=options.seed,
    )
    print(options.text + said)
    return 0
