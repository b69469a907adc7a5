"""`pinisi compare`: tells which of several models is better on the same samples, and how sure that is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    compare = commands.add_parser(
        "compare",
        help="compare results of evaluate on the same samples: paired tests, and what differs in settings",
    )
    compare.add_argument(
        "results",
        nargs="+",
        metavar="[NAME=]RESULT",
        help="files of `evaluate --out`; the first is the baseline",
    )
    compare.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="NAME",
        help="a task or COMPONENT/LANGUAGE not compared",
    )
    compare.add_argument("--seed", type=int, default=0, help="of the tests and intervals")
    compare.add_argument("--json", metavar="FILE", help="the same for programs; - is standard output")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from pinisi.base.errors import ConfigError
    from pinisi.base.results import write_result
    from pinisi.evaluate.comparison import compare, read_result
    from pinisi.evaluate.table import comparison_tables

    if len(options.results) < 2:
        raise ConfigError(
            f"got {len(options.results)} result, needed at least two: a baseline and what is held against it"
        )
    named = [_named(text) for text in options.results]
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two results are called {twice[0]}: give one a name of its own, as NAME=FILE")
    results = {name: read_result(path) for name, path in named}
    found = compare(results, seed=options.seed, leave_out=options.leave_out)
    print(comparison_tables(found))
    if options.json:
        write_result(options.json, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0


def _named(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    return (name, path) if path else (Path(text).stem, text)
