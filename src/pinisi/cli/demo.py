"""`pinisi demo`: shows everything once, on real text in fifteen languages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    demo = commands.add_parser(
        "demo", help="everything once on real text in fifteen languages, in some ten minutes"
    )
    demo.add_argument("--folder", default="runs/demo", help="where to work")
    demo.add_argument("--steps", type=int, default=None, help="training steps")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cli.tour import demo

    return demo(Path(options.folder), steps=options.steps)
