"""`pinisi plan`: compares the ways of running a model on a number of ranks, and names the fastest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any, planning: bool) -> None:
    """Adds the command; its options only where it is `planning` that was asked for."""
    plan = commands.add_parser(
        "plan", help="rank the ways of running a model on N ranks, before any is started"
    )
    if planning:
        from pinisi.plan.command import add_arguments

        add_arguments(plan)
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace, _: list[str]) -> int:
    if options.as_rank:
        from pinisi.bench.profile import as_rank

        return as_rank(Path(options.config))
    from pinisi.plan.command import run

    return run(options, _measure)


def _measure(source, setting, ranks: int):
    """`--hardware measure`: plan can't import the engine, so it is handed this."""
    from pinisi.bench.profile import profile

    threads = source.run.runtime.threads if source.run else 1
    return profile(source.spec, setting, ranks, threads=threads, report=print)
