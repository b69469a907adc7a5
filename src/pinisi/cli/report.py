"""`pinisi report`: writes a run's page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    report = commands.add_parser("report", help="write a run's report.html")
    report.add_argument("folder", metavar="RUN", help="the run's folder")
    report.add_argument("--out", help="the file; RUN/report.html if left out")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.report import write_report

    print(write_report(Path(options.folder), Path(options.out) if options.out else None))
    return 0
