"""Runs curation's stages, counts what they did to the documents, and stops where the alarm says so."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pinisi.curate.alarm import check_alarm
from pinisi.curate.counts import Counts
from pinisi.curate.stages.files import DROPS, READ, STATS
from pinisi.curate.tools import Tools
from pinisi.recipe import RecipeTask, StageRunner, TaskExecutor

Report = Callable[[str], None]


class CountedStages:
    """Runs stages one after the other. counts: what all of them together have counted."""

    def __init__(
        self, tools: Tools, folders: Mapping[str, Path], executor: TaskExecutor, report: Report
    ) -> None:
        self.tools, self.config, self.folders, self.report = tools, tools.config, folders, report
        self.counts = Counts(self.config.run.seed)
        self._work = folders[READ].parent
        self._runner = StageRunner(executor, self._work / "logs", report)

    def run(self, tasks: Sequence[RecipeTask]) -> Counts:
        """Does the tasks of a stage; returns what all stages together have counted. Raises DataError for an alarm."""
        if tasks:
            self._runner.run(tasks, self._count)
            drops = f"{self._work}/*/*/{DROPS}.jsonl.zst"
            check_alarm(self.config.alarm, self.counts.languages, self.tools.wanted, drops)
        return self.counts

    def _count(self, tasks: Sequence[RecipeTask]) -> str:
        for task in tasks:
            self.counts.add(json.loads((task.folder / STATS).read_text("utf-8")))
        total = sum(of["documents"] for of in self.counts.languages.values())
        gone = sum(sum(of["drops"].values()) for of in self.counts.languages.values())
        return f"{total - gone:,} of {total:,} documents so far"
