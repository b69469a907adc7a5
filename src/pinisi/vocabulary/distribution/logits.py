"""Makes the logits of student and teacher tile by tile, in the place where they are kept or in working space."""

from __future__ import annotations

from torch import Tensor

from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.distribution.passes import DistributionPass
from pinisi.vocabulary.kernels import kernels_for
from pinisi.vocabulary.projection import Projection
from pinisi.vocabulary.statistics import statistics_dtype


class TileLogits:
    """Makes z of a pass' tiles, for which student and teacher have the same rows of the vocabulary."""

    def __init__(self, student: Projection, teacher: Projection | None, scratch: Scratch) -> None:
        self.student, self.teacher, self.scratch = student, teacher, scratch

    def of_student(self, pass_: DistributionPass, start: int, stop: int, *, again: bool = True) -> Tensor:
        """z [T, C]; again=False: only if it isn't kept from before."""
        place = _kept(pass_, 0, start, stop)
        if place is None:
            place = self.scratch.take("logits", len(pass_.x), stop - start, pass_.x.dtype, pass_.x.device)
        elif not again:
            return place
        return self.student.logits_(place, pass_.x, start, stop)

    def of_teacher(
        self, pass_: DistributionPass, start: int, stop: int, *, again: bool = True
    ) -> Tensor | None:
        """As of the student; None without the teacher's hidden states."""
        x = pass_.teacher
        if self.teacher is None or x is None:
            return None
        place = _kept(pass_, 1, start, stop) if alike(x, pass_.x) else None
        if place is None:
            place = self.scratch.take("teacher", len(x), stop - start, x.dtype, x.device)
        elif not again:
            return place
        return self.teacher.logits_(place, x, start, stop)

    def at_targets(self, of: Projection, x: Tensor, pass_: DistributionPass) -> tuple[Tensor, Tensor]:
        """l [T] of each token's target, -inf where it isn't mine, and dl/dz there."""
        statistics = x.new_empty((3, len(x)), dtype=statistics_dtype(x.dtype))
        slopes = kernels_for(x).target_logits(
            x, of.weight, of.bias, pass_.targets, statistics, of.curve, self.scratch
        )
        return statistics[2], slopes

    def place(self, name: str, like: Tensor) -> Tensor:
        return self.scratch.take(name, len(like), like.shape[1], like.dtype, like.device)


def alike(x: Tensor, other: Tensor | None) -> bool:
    """Whether both are kept in one buffer."""
    return other is not None and other.dtype == x.dtype


def _kept(pass_: DistributionPass, which: int, start: int, stop: int) -> Tensor | None:
    kept = pass_.plan.kept_columns
    if pass_.buffer is None or stop > kept:
        return None
    tokens, first = len(pass_.x), which * kept
    place = slice(tokens * (first + start), tokens * (first + stop))
    return pass_.buffer.flat[place].view(tokens, stop - start)
