"""`pinisi trace`: writes a run's timelines for a viewer of traces."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    trace = commands.add_parser(
        "trace", help="write a run's timelines for ui.perfetto.dev or chrome://tracing"
    )
    trace.add_argument("folder", metavar="RUN", help="the run's folder")
    trace.add_argument("--out", help="the file; RUN/trace.json if left out")
    trace.set_defaults(run=_trace)


def _trace(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.report.trace import write_trace

    print(write_trace(options.folder, options.out))
    return 0
