"""Runs a configuration: starts its ranks on this machine and waits, or joins those that others have started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pinisi.base.errors import DataError, PinisiError
from pinisi.base.files import write_whole
from pinisi.base.lock import only_one
from pinisi.base.settings import absolute, dump, validate
from pinisi.config import RunConfig, load
from pinisi.launch.check import check, check_world
from pinisi.launch.supervisor import STOPPED, launch
from pinisi.parallel.place import joined, place
from pinisi.parallel.watchdog import STATUS, watched
from pinisi.train.building import with_dtype
from pinisi.train.forgetting import FOLDER as HELD_OUT
from pinisi.train.metrics import last_of
from pinisi.train.model_files import COMPANIONS
from pinisi.train.probe import Probe
from pinisi.train.result import Result
from pinisi.train.saved import CHECKPOINTS
from pinisi.train.tables import FOLDER as SCHEDULES
from pinisi.train.tables import leave_tables
from pinisi.train.task import Task
from pinisi.train.tasks import reference_to, task_of
from pinisi.train.trainer import Trainer

ProbeMaker = Callable[[RunConfig], Sequence[Probe]]

LOCK = "lock"  # in run.folder: one run at a time
LAUNCHED = "launched.toml"  # in run.folder: what the ranks read
# What a run writes over: in a folder with neither a lock nor checkpoints somebody else put it there.
REPLACED = (
    "config.toml",
    LAUNCHED,
    "metrics.jsonl",
    "report.html",
    "live.html",
    HELD_OUT,
    "timeline.json",
    "memory.json",
    COMPANIONS,
    SCHEDULES,
)


def run(
    config: RunConfig | str | Path, task: type[Task] | None = None, probes: ProbeMaker | None = None
) -> Result:
    """Runs a configuration as `pinisi.run` says, with the probes that a room above makes of it."""
    if isinstance(config, (str, Path)):
        config = load(config)
    else:
        validate(config)
    if joined():
        return join(config, None if task is None else task(config), probes)
    reference = None if task is None else reference_to(task)
    code = start(config, reference, probes)
    if code not in (0, *STOPPED):
        raise PinisiError(f"the run in {config.run.folder} failed; the message of its ranks is above")
    step, evaluation = last_of(Path(config.run.folder))
    return Result(Path(config.run.folder), step, code, evaluation)


def start(config: RunConfig, reference: str | None = None, probes: ProbeMaker | None = None) -> int:
    """Checks everything, starts the ranks and waits for them; returns the exit code.

    reference: of a task's class, see `reference_to`. probes: made here to see what is wrong with them; the ranks, which run
    `pinisi train`, make their own.
    """
    task = task_of(with_dtype(absolute(config), say=True), reference)
    config = task.config
    tables = check(config, task)
    if probes is not None:
        probes(config)
    folder = Path(config.run.folder)
    with _alone(folder):
        write_whole(folder / LAUNCHED, dump(config))
        return launch(
            ["train", str(folder / LAUNCHED), *(["--task", reference] if reference else [])],
            config.pipeline.ranks * (config.pipeline.data_parallel or 1),
            folder,
            port=config.runtime.port,
            threads=config.runtime.threads,
            environment=leave_tables(tables, folder),
            stuck_after=config.runtime.stuck_after,
        )


def join(config: RunConfig, task: Task | None = None, probes: ProbeMaker | None = None) -> Result:
    """Does the work of a rank that is there already, watched from here on. Where no launcher of ours has started it, rank 0 holds
    the run's lock, and everything is checked first."""
    rank, world = place()
    folder = Path(config.run.folder)
    launched = STATUS in os.environ
    lock = nullcontext() if launched or rank else _alone(folder)
    with lock, watched(folder, rank, world, config.runtime.stuck_after) as status:
        task = task or task_of(config)
        if not launched:
            check(config, task, verified=None)
            check_world(config, world)
        made = probes(config) if probes is not None else ()
        return Trainer(config, task, status=status, probes=made).run()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder that is a run's, or is to be one. Raises DataError where it holds a file of somebody else's that
    a run would replace."""
    if not any(os.path.lexists(folder / name) for name in (LOCK, CHECKPOINTS)):
        for path in (folder / name for name in REPLACED):
            if path.is_file() or any(path.glob("*")):
                raise DataError(
                    f"{path} was put there by no run, and is left alone: move it away, or give another run.folder"
                )
    with only_one(folder, folder / LOCK, "run.folder"):
        yield
