"""Does the work of each stage: read and judge a part; compare a language's documents; cut what is repeated; grade.

A task's folder appears when all of it is written, so a task that has its folder is done; what a task writes depends on nothing
but the configuration and its input.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pinisi.curate.config import CurateConfig
from pinisi.curate.stages import partitioned
from pinisi.curate.stages.files import (
    BANDS,
    BUCKETS,
    FINISH,
    GRADE,
    LEARN,
    MARK,
    MERGE,
    NEAR,
    PAIRS,
    READ,
    SCORE,
    SETTLE,
    TELL,
)
from pinisi.curate.stages.finish import finish_bucket
from pinisi.curate.stages.grade import grade_bucket, learn_quality
from pinisi.curate.stages.near import compare
from pinisi.curate.stages.read import read_part
from pinisi.curate.stages.score import score_language
from pinisi.curate.tools import Tools


class Task(NamedTuple):
    """A stage's function by name and what it is called with; the last argument is the folder that it makes."""

    stage: str
    arguments: tuple

    @property
    def folder(self) -> Path:
        return self.arguments[-1]


_tools: dict[str, Tools] = {}


def work(config: CurateConfig, task: Task) -> None:
    """Do a task, unless it is done."""
    if task.folder.exists():
        return
    if (key := repr(config)) not in _tools:
        _tools.clear()
        _tools[key] = Tools(config)
    _STAGES[task.stage](_tools[key], *task.arguments)


_STAGES: dict[str, Callable[..., None]] = {
    READ: read_part,
    SCORE: score_language,
    NEAR: compare,
    BANDS: partitioned.write_bands,
    BUCKETS: partitioned.write_buckets,
    PAIRS: partitioned.write_pairs,
    MERGE: partitioned.write_components,
    SETTLE: partitioned.write_settled,
    MARK: partitioned.write_marks,
    TELL: partitioned.tell,
    FINISH: finish_bucket,
    LEARN: learn_quality,
    GRADE: grade_bucket,
}
