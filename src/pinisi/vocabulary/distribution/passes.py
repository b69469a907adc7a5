"""Keeps the results of S for one microbatch, where a loss reads the whole distribution."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import Buffer
from pinisi.vocabulary.head_pass import Tiling
from pinisi.vocabulary.kernels import Targets
from pinisi.vocabulary.statistics import Combined


class Spread(NamedTuple):
    """Holds what is known of the whole vocabulary, [T] each, None where not asked for. others: H without y's term."""

    student: Combined
    entropy: Tensor | None
    others: Tensor | None
    teacher: Combined | None
    divergence: Tensor | None


class DistributionPass:
    """Keeps what U and T need of one microbatch.

    statistics [R, T]: m_r, s_r, l_y as of `HeadPass`; with entropy Σ e_v (l_v - m_r); with a teacher its m_r, s_r, l_y and
    Σ t_v (lt_v - l_v). All sums run over the columns that are not y.
    """

    def __init__(self, x: Tensor, targets: Targets, plan: Tiling, teacher: Tensor | None, entropy: bool):
        self.x, self.teacher, self.entropy = x, teacher, entropy
        self.targets, self.plan = targets, plan
        # Logits before the curve, then the teacher's, of the kept tiles; None once T has run.
        self.buffer: Buffer | None = None
        self.statistics: Tensor
        self.target_slope: Tensor  # dl/dz at y, 0 where y is not mine
        self.product: Tensor | None = None  # A [T, h] and what else 1 barrier needs of S
        self.moment_product: Tensor | None = None
        self.teacher_product: Tensor | None = None
        self.spread: Spread | None = None

    @property
    def first_of_teacher(self) -> int:
        """The teacher's first row of statistics."""
        return 3 + self.entropy

    @property
    def nbytes(self) -> int:
        """What it holds on to beside x and vectors [T]."""
        kept = None if self.buffer is None else self.buffer.flat
        held = (kept, self.product, self.moment_product, self.teacher_product)
        return sum(tensor.nbytes for tensor in held if tensor is not None)


@dataclass
class RunningSums:
    """Holds the maximum, Σ e_v and a third sum [T] over the tiles so far."""

    maximum: Tensor
    total: Tensor
    third: Tensor

    def raise_to_(self, highest: Tensor, *, moment: bool = False) -> None:
        """Sums above a higher maximum; with moment the third sum is of e_v (l_v - maximum)."""
        decay = torch.exp(self.maximum - highest)
        if moment:
            lower = (self.maximum - highest).clamp(min=torch.finfo(highest.dtype).min)
            self.third = self.third + lower * self.total
        self.third, self.total, self.maximum = self.third * decay, self.total * decay, highest
