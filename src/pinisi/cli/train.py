"""`pinisi train`: trains, or resumes, the run that a TOML file describes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pinisi.base import terminal
from pinisi.base.errors import PinisiError


def add(commands: Any) -> None:
    """Adds the command."""
    train = commands.add_parser("train", help="train (or resume) the run that a TOML file describes")
    train.add_argument("config", metavar="CONFIG", help="a TOML file")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="such as run.steps=200")
    train.add_argument(
        "--task", metavar="FILE.py:CLASS", help="a task of your own instead of the one that [task] names"
    )
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace, arguments: list[str]) -> int:
    from pinisi.config import load
    from pinisi.parallel.place import joined

    if joined():
        return _be_rank(options)
    load(options.config, options.overrides)  # what is wrong with it is said before anything is started
    from pinisi.launch.ranks import warm_up

    warm_up()  # now, since what comes next are the same imports for this process
    from pinisi.launch.run import start

    config = load(options.config, options.overrides)
    with terminal.heard_or_not():
        with _live(config):
            code = start(config, options.task, _probes(config))
        _write_report(Path(config.run.folder), code)
        sys.stdout.flush()
    return code


def _be_rank(options: argparse.Namespace) -> int:
    from pinisi.launch.supervisor import rank_main, writes_report

    folder: list[Path] = []

    def work() -> int:
        from pinisi.config import load
        from pinisi.launch.run import join
        from pinisi.train.tasks import task_of

        config = load(options.config, options.overrides)
        folder.append(Path(config.run.folder))
        task = task_of(config, options.task) if options.task else None
        return join(config, task, _probes(config)).code

    with terminal.heard_or_not():
        code = rank_main(work)
        if folder and writes_report():
            _write_report(folder[0], code)
        sys.stdout.flush()
    return code


def _probes(config: Any) -> Any:
    """What makes the run's probes; None where there are none, which spares the import."""
    if config.evaluation.tasks is None and not config.watch.few_shot:
        return None
    from pinisi.evaluate.run_probe import probes_of

    return probes_of


def _live(config: Any) -> Any:
    """Keeps the run's live page meanwhile."""
    from pinisi.report.live import kept_live

    return kept_live(Path(config.run.folder), config.report.live)


def _write_report(folder: Path, code: int) -> None:
    if code not in (0, 130, 143):
        return
    from pinisi.report import write_report

    try:
        print(f"report: {write_report(folder)}")
    except (PinisiError, OSError) as error:
        print(f"the report could not be written: {error}", file=sys.stderr)
