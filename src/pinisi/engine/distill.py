"""Losses that read the whole distribution, in an engine: what they ask of model, layout and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinisi.base.errors import ConfigError
from pinisi.engine.settings import Objective
from pinisi.losses import data_names, reads_logit_sum, reads_of_distribution
from pinisi.models import ModelSpec
from pinisi.schedule import Layout
from pinisi.vocabulary import DistributionHead, HeadShard, Projection, Shards

if TYPE_CHECKING:
    from pinisi.engine.engine import Engine


def check_objective(spec: ModelSpec, layout: Layout, objective: Objective, shards: Shards | None) -> None:
    """Raises ConfigError, before anything is built, if loss, teacher, extra heads and layout don't go together."""
    loss, teacher = objective.loss, objective.teacher
    if spec.extra_heads and (data_names(loss) or getattr(loss, "count", None)):
        raise ConfigError(
            f"the model has {spec.extra_heads} extra heads, whose targets the loss' data say nothing of: train it without "
            "them, or with a loss that reads log-probabilities and weights alone"
        )
    reads = reads_of_distribution(loss)
    if reads and reads_logit_sum(loss) and layout.barriers:
        raise ConfigError(
            f"label smoothing and a loss that reads {' and '.join(reads)} don't go together: leave one out"
        )
    if ("divergence" in reads) != (teacher is not None):
        raise ConfigError(
            "a teacher needs a loss that reads its divergence, and such a loss a teacher: give Engine both, for example "
            "objective=Objective(WithDistillation(), teacher=engine)"
        )
    if teacher is None:
        return
    if not (layout.barriers and teacher.layout.barriers):
        raise ConfigError(
            f"distillation divides the vocabulary: the student has {layout.barriers} barriers, the teacher "
            f"{teacher.layout.barriers}, needed 1 or 2 each"
        )
    if spec.extra_heads:
        raise ConfigError("a teacher says nothing of extra heads' targets: train without loss.extra_heads")
    mine = (shards or Shards.even(spec.vocabulary, layout.ranks)).to_list()
    theirs = teacher.shards.to_list()
    if mine != theirs:
        raise ConfigError(
            f"student and teacher must hold the same rows on each rank: bounds are {_short(mine)} and {_short(theirs)}; give both "
            "the same vocabulary and shards"
        )


def _short(bounds: Sequence[int]) -> str:
    return str(list(bounds)) if len(bounds) <= 9 else f"{list(bounds)[:8]} ... {bounds[-1]}"


def distribution_head(head: HeadShard, reads: Sequence[str], teacher: Engine | None) -> DistributionHead:
    """The head of this rank for such a loss; the teacher's rows are those that its own engine holds here."""
    rows = None
    if teacher is not None:
        theirs = teacher.parts.head
        assert theirs is not None
        rows = (
            theirs.student
            if isinstance(theirs, DistributionHead)
            else Projection(theirs.weight, theirs.bias, theirs.curve)
        )
    return DistributionHead.of(head, entropy="entropy" in reads, teacher=rows)
