"""`pinisi report`: writes a page: a run's, or one of results of `pinisi evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    report = commands.add_parser(
        "report", help="write a run's report.html, or one page of several results of evaluate"
    )
    report.add_argument(
        "what",
        nargs="+",
        metavar="RUN|[NAME=]RESULT",
        help="a run's folder; or files of `evaluate --out`, of which the first is what the others are compared with",
    )
    report.add_argument(
        "--out", help="the file; RUN/report.html, or evaluation.html beside the first result, if left out"
    )
    report.add_argument(
        "--live",
        type=float,
        nargs="?",
        const=30.0,
        metavar="SECONDS",
        help="keep RUN/live.html while the run goes on, written anew every so many seconds (30), until the run has ended",
    )
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace, _: list[str]) -> int:
    out = Path(options.out) if options.out else None
    if options.live is not None:
        return _keep_live(options.what, options.live)
    if len(options.what) == 1 and Path(options.what[0]).is_dir():
        from pinisi.report import write_report

        print(write_report(Path(options.what[0]), out))
        return 0
    return _evaluations(options.what, out)


def _keep_live(what: list[str], every: float) -> int:
    from pinisi.base.errors import ConfigError, DataError
    from pinisi.launch.run import LOCK
    from pinisi.report.live import follow

    if len(what) != 1 or every < 1:
        raise ConfigError("--live takes the folder of one run, and at least a second")
    if not Path(what[0]).is_dir():
        raise DataError(
            f"{what[0]}: no such folder; give the folder of one run (run.folder in its configuration)"
        )
    follow(Path(what[0]), every, LOCK, lambda line: print(line, flush=True))
    return 0


def _evaluations(given: list[str], out: Path | None) -> int:
    from pinisi.base.errors import ConfigError, DataError
    from pinisi.evaluate.page import write_page

    files: dict[str, str] = {}
    for text in given:
        name, path = (
            text.split("=", 1) if "=" in text and not Path(text).exists() else (Path(text).stem, text)
        )
        if not Path(path).is_file():
            raise DataError(
                f"{path}: no such file; give the folder of one run (run.folder in its configuration), or files that "
                "`pinisi evaluate --out` wrote"
            )
        if name in files:
            raise ConfigError(f"two results are called {name}: give one a name of its own, as NAME=FILE")
        files[name] = path
    print(write_page(files, out or Path(next(iter(files.values()))).with_name("evaluation.html")))
    return 0
