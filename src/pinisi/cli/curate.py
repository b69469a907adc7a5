"""`pinisi curate`: makes clean documents of raw text."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    curate = commands.add_parser(
        "curate", help="clean documents of raw text: repair, rules, language, duplicates; resumes"
    )
    curate.add_argument("config", metavar="CONFIG", help="a TOML file")
    curate.add_argument("overrides", nargs="*", metavar="key=value", help="such as run.workers=8")
    curate.set_defaults(run=_curate)


def _curate(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.curate.run import curate

    try:
        curate(options.config, options.overrides)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
