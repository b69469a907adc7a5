"""Runs a recipe's stages one after the other, says how far it is, and how long the rest takes."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pinisi.base.durations import duration
from pinisi.base.progress import ProgressBar
from pinisi.recipe.executor import TaskExecutor
from pinisi.recipe.task import RecipeTask

EVERY = 5.0  # seconds between two lines of progress
Report = Callable[[str], None]


class StageRunner:
    """Does one stage's tasks at a time. seconds: how long each stage took in this run."""

    def __init__(self, executor: TaskExecutor, logs: Path, report: Report) -> None:
        self._executor, self._logs, self._report = executor, logs, report
        self.seconds: dict[str, float] = {}

    def run(
        self, tasks: Sequence[RecipeTask], finished: Callable[[Sequence[RecipeTask]], str] | None = None
    ) -> None:
        """Does those of a stage's tasks that are not done; returns when all are.

        finished: called once all are done, with the tasks in the order given, not that in which they ended, so that what it counts
        is the same for any number of workers; returns what the stage's last line says besides. Raises the first error of a task.
        """
        if not tasks:
            return
        progress = _StageProgress(tasks, self._report)
        try:
            self._executor.run(tasks, self._logs / progress.stage, progress.done)
        finally:
            progress.bar.close()
        self.seconds[progress.stage] = progress.elapsed()
        told = finished(tasks) if finished else ""
        self._report(progress.summary(self.seconds[progress.stage]) + (f"; {told}" if told else ""))


class _StageProgress:
    """Counts finished tasks and reports, now and then, how many are left."""

    def __init__(self, tasks: Sequence[RecipeTask], report: Report) -> None:
        self.stage, self._total, self._report = tasks[0].stage, len(tasks), report
        self._resumed = sum(task.folder.exists() for task in tasks)
        self._finished = 0
        self._start = self._shown = time.monotonic()
        self.bar = ProgressBar(self._total)

    def done(self, task: RecipeTask) -> None:
        self._finished += 1
        now, new = time.monotonic(), self._finished - self._resumed
        left = (
            f", ETA {duration((now - self._start) / new * (self._total - self._finished))}" if new > 0 else ""
        )
        self.bar.at(self._finished, f"{self.stage}{left}")
        if new > 0 and now - self._shown > EVERY and self._finished < self._total and not self.bar.shown:
            self._shown = now
            self._report(f"{self.stage}: {self._finished} of {self._total} tasks{left}")

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def summary(self, seconds: float) -> str:
        again = f", {self._resumed} done before" if self._resumed else ""
        return f"{self.stage}: {self._total} tasks in {duration(seconds)}{again}"
