"""Checks that loss, teacher and model go together, and gives each rank the head that the loss needs."""

from __future__ import annotations

from collections.abc import Sequence

from pinisi.base.errors import ConfigError
from pinisi.engine.settings import Objective
from pinisi.losses import data_names, reads_logit_sum, reads_of_distribution
from pinisi.models import ModelSpec
from pinisi.schedule import Layout
from pinisi.vocabulary import DistributionHead, Head, HeadShard, Shards


def check_objective(spec: ModelSpec, layout: Layout, objective: Objective, shards: Shards | None) -> None:
    """Raises ConfigError, before anything is built, if loss, teacher, extra heads and layout don't go together."""
    loss, teacher = objective.loss, objective.teacher
    if spec.extra_heads and (data_names(loss) or getattr(loss, "count", None)):
        raise ConfigError(
            f"the model has {spec.extra_heads} extra heads, whose targets the loss' data say nothing of: train it without "
            "them, or with a loss that reads log-probabilities and weights alone"
        )
    reads = reads_of_distribution(loss)
    if spec.adapters is not None and (reads or spec.extra_heads):
        raise ConfigError(
            "adapters are trained by losses that read log-probabilities, of a model without extra heads: leave out "
            f"{' and '.join(reads) or 'loss.extra_heads'}, or train the whole model (lora.rank = 0)"
        )
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


def head_for(objective: Objective, head: HeadShard) -> Head:
    """The head of this rank for what the loss reads; a teacher's rows are those that its own engine holds here."""
    reads = reads_of_distribution(objective.loss)
    if not reads:
        return head
    teacher = None if objective.teacher is None else objective.teacher.parts.projection
    return DistributionHead(head, entropy="entropy" in reads, teacher=teacher)
