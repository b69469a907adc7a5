"""Where tasks run: in processes of our own, or by datatrove on this machine, a Slurm cluster or a Ray one.

A task is done when its folder is there, whoever made it; so any of these goes on where another stopped. All of them need
the run's folder and the input at the same path on every machine.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.libraries import library
from pinisi.base.settings import byte_count
from pinisi.curate.config import CurateConfig
from pinisi.curate.stages import Task, work

Done = Callable[[Task], None]  # told of each task once it is done; datatrove tells of its own progress
POLL = 5.0  # seconds between two looks at what a cluster has finished
VISIBLE = 60.0  # seconds until every machine sees what another has written to a shared folder


class Executor:
    """Does tasks as the configuration says. Own processes are started once for all stages; to be closed."""

    def __init__(self, config: CurateConfig) -> None:
        self._config = config
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is None:
            return
        for process in list((self._pool._processes or {}).values()):
            process.kill()  # idle, or at work that nobody wants any more; what it was writing is not there
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Sequence[Task], logs: Path, done: Done) -> None:
        """Do all tasks that are not done. Raises the first error of a task."""
        left = [task for task in tasks if not task.folder.exists()]
        for task in tasks:
            if task.folder.exists():
                done(task)
        if not left:
            return
        if self._config.run.executor == "processes":
            self._processes(left, done)
        else:
            _datatrove(self._config, left, logs, done)
        missing = [task for task in left if not task.folder.exists()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(left)} tasks failed, the first is {missing[0].folder}; see {logs} and run again"
            )

    def _processes(self, tasks: Sequence[Task], done: Done) -> None:
        if self._config.run.workers == 1:
            for task in tasks:
                work(self._config, task)
                done(task)
            return
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._config.run.workers, spawn, _serve, (os.getpid(),))
        waiting = {self._pool.submit(work, self._config, task): task for task in tasks}
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    task = waiting.pop(future)
                    future.result()
                    done(task)
        except BrokenProcessPool:
            raise DataError(
                "a worker was killed (the kernel does so when memory runs out): lower run.workers or run.budget and run again"
            ) from None


def _serve(parent: int) -> None:
    """Ctrl-C is the parent's business, which ends its workers; killed, it can't, so they look whether it is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # the parent's next run does the task anew; what this one was writing is not there

    threading.Thread(target=watch, daemon=True).start()


def _step(config: CurateConfig, tasks: Sequence[Task]) -> Any:
    """The tasks as a step of datatrove, whose rank r of n does tasks r, r + n, ..."""

    class Curate(library("datatrove.pipeline.base", "cluster").PipelineStep):  # type: ignore[misc]
        name = "pinisi curate"
        type = tasks[0].stage

        def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
            for task in tasks[rank::world_size]:
                with self.track_time():
                    work(config, task)
            return data

    return Curate()


def _datatrove(config: CurateConfig, tasks: Sequence[Task], logs: Path, done: Done) -> None:
    """By one of its executors."""
    kind = config.run.executor
    executors = library("datatrove.executor", "cluster")
    if kind == "ray":
        library("ray", "cluster")
    executor = getattr(executors, f"{kind.capitalize()}PipelineExecutor")(
        [_step(config, tasks)],
        tasks=len(tasks),
        workers=config.run.workers,
        logging_dir=str(logs),
        skip_completed=False,
        **(_slurm_arguments(config) if kind == "slurm" else {}),
    )
    executor.run()
    if kind == "slurm":  # which only submits an array of jobs
        _until_jobs_end(executor.job_id, tasks, done)


def _slurm_arguments(config: CurateConfig) -> dict[str, Any]:
    memory = byte_count(config.run.budget) // 2**30 + 2  # GiB, with what packs, code and rounding take
    given = {"job_name": "pinisi-curate", "mem_per_cpu_gb": memory, **config.run.slurm}
    if not {"partition", "time"} <= given.keys():
        raise ConfigError(
            "run.executor = 'slurm' needs run.slurm = {partition = '...', time = '10:00:00', ...}"
        )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "run.executor = 'slurm' needs Slurm's sbatch, which is not here: run it on a login node"
        )
    if not {"venv_path", "condaenv", "env_command"} & given.keys() and sys.prefix != sys.base_prefix:
        given["venv_path"] = f"{sys.prefix}/bin/activate"  # the one that runs this
    return given


def _until_jobs_end(job: str, tasks: Sequence[Task], done: Done) -> None:
    """Until all tasks are done, or Slurm has ended the job and what it wrote had time to become visible here."""
    waiting, ended = list(tasks), None
    try:
        while waiting and (ended is None or time.monotonic() < ended + VISIBLE):
            time.sleep(POLL)
            for task in [task for task in waiting if task.folder.exists()]:
                waiting.remove(task)
                done(task)
            if ended is None and _has_ended(job):
                ended = time.monotonic()
    except KeyboardInterrupt:
        subprocess.run(["scancel", job], capture_output=True)
        raise


def _has_ended(job: str) -> bool:
    """Whether Slurm's queue has the job no more; a queue that can't be asked just now tells nothing."""
    asked = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True)
    if asked.returncode:
        return "invalid job id" in asked.stderr.lower()
    return not asked.stdout.strip()
