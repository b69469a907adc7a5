"""Runs tasks in processes of our own, started once for all stages; `cluster` runs them elsewhere.

A task is done when its folder is there, whoever made it; so any way of running goes on where another stopped. All of them need
the run's folder and the input at the same path on every machine.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pinisi.base.errors import DataError
from pinisi.recipe import cluster
from pinisi.recipe.settings import ExecutorSettings
from pinisi.recipe.task import RecipeTask, Shared, do, forget

Done = Callable[[RecipeTask], None]  # told of each task once it is done


class TaskExecutor:
    """Does tasks as its settings say. To be closed: with `with`, no worker outlives the block.

    shared: what the tasks' functions get first. name: of jobs in a cluster's queue. section: the settings' place in the TOML, for
    what errors say.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        shared: Shared | None = None,
        *,
        name: str = "recipe",
        section: str = "run",
    ) -> None:
        self._settings, self._shared, self._name, self._section = settings, shared, name, section
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        forget()
        if self._pool is None:
            return
        for process in list((self._pool._processes or {}).values()):
            process.kill()  # idle, or at work that nobody wants any more; what it was writing is not there
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Sequence[RecipeTask], logs: Path, done: Done) -> None:
        """Does all tasks that are not done, each reported to `done`. Raises the first error of a task, or DataError for others.

        logs: a folder for what a cluster's processes print.
        """
        left = [task for task in tasks if not task.folder.exists()]
        for task in tasks:
            if task.folder.exists():
                done(task)
        if not left:
            return
        if self._settings.executor != "processes":
            job = cluster.ClusterJob(self._settings, self._shared, self._name, self._section)
            cluster.run(job, left, logs, done)
        elif self._settings.workers == 1:
            self._here(left, done)
        else:
            self._processes(left, done)
        missing = [task for task in left if not task.folder.exists()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(left)} tasks failed, the first is {missing[0].folder}; see {logs} and run again"
            )

    def _here(self, tasks: Sequence[RecipeTask], done: Done) -> None:
        for task in tasks:
            do(task, self._shared)
            done(task)

    def _processes(self, tasks: Sequence[RecipeTask], done: Done) -> None:
        try:
            waiting = self._submit(tasks)
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    task = waiting.pop(future)
                    future.result()
                    done(task)
        except BrokenProcessPool:
            raise DataError(
                f"a worker was killed (the kernel does so when memory runs out): lower {self._section}.workers or "
                f"{self._section}.budget and run again"
            ) from None

    def _submit(self, tasks: Sequence[RecipeTask]) -> dict[Future, RecipeTask]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._settings.workers, spawn, _serve, (os.getpid(),))
        with _without_interrupts():
            return {self._pool.submit(_do, task, self._shared): task for task in tasks}


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Puts off Ctrl-C until the block's end. Workers that it starts never see it: they can't ignore it before they are Python."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do(task: RecipeTask, shared: Shared | None) -> None:
    """Does a task in a worker. An error that can't be sent whole would end the pool, so its words are sent."""
    try:
        do(task, shared)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__} in the task {task.folder}: {error}") from None
        raise


def _serve(parent: int) -> None:
    """Begins a worker's life. Ctrl-C is the parent's business, which ends its workers; killed, it can't, so they look for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # the parent's next run does the task anew; what this one was writing is not there

    threading.Thread(target=watch, daemon=True).start()
