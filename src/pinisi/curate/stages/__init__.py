"""Does the work of each stage: read and judge a part; compare a language's documents; cut what is repeated; grade.

A task's folder appears when all of it is written, so a task that has its folder is done; what a task writes depends on nothing
but the configuration and its input.
"""

from collections.abc import Callable
from typing import Any

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
from pinisi.recipe import RecipeTask

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


def task_of(stage: str, *arguments: Any) -> RecipeTask:
    """Returns a task of a stage. arguments: what its function takes behind `Tools`; the last is the folder that it makes."""
    return RecipeTask(stage, _STAGES[stage], arguments)
