"""Runs S and T of a shard for losses that read entropy or divergence: see the package's text."""

from __future__ import annotations

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses import LogProbs, LossValue
from pinisi.vocabulary.buffers import Buffers, Scratch
from pinisi.vocabulary.checks import check_gathered, check_tokens
from pinisi.vocabulary.distribution.columns import gradient_columns
from pinisi.vocabulary.distribution.logits import TileLogits, alike
from pinisi.vocabulary.distribution.passes import DistributionPass
from pinisi.vocabulary.distribution.spread import combined, factors
from pinisi.vocabulary.distribution.sums import PassSums
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import Tiling, tiling
from pinisi.vocabulary.kernels import Targets, kernels_for, rows_without_gaps
from pinisi.vocabulary.products import add_product_, add_transposed_product_
from pinisi.vocabulary.projection import Projection
from pinisi.vocabulary.statistics import log_probs, statistics_dtype

BLOCKS = 8  # of tokens of a tile in fp32, at a time


class DistributionHead:
    """Is a `Head` for losses that read `entropy` or `divergence`, with the rows, gradient buffers and budget of a `HeadShard`.

    teacher: the teacher's rows of the same tokens, its hidden states come with each s. The budget covers the teacher's [T, V_r]
    numbers, too, where it has the student's dtype; of tiles that do not fit T makes the logits again, from another product each.
    Raises ConfigError for a teacher of other rows.
    """

    def __init__(self, head: HeadShard, *, entropy: bool = False, teacher: Projection | None = None) -> None:
        if teacher is not None and len(teacher.weight) != len(head.weight):
            raise ConfigError(
                f"The teacher's shard has {len(teacher.weight)} rows, the student's {len(head.weight)}: divide both "
                "vocabularies alike."
            )
        if teacher is not None:
            assert rows_without_gaps(teacher.weight) and rows_without_gaps(teacher.bias)
            kernels_for(teacher.weight)
        self.student, self.teacher, self.entropy = head.projection, teacher, entropy
        self.gradient, self.bias_gradient = head.gradient, head.bias_gradient
        self.start, self.barriers, self.budget = head.start, head.barriers, head.budget
        self._buffers, self._scratch = Buffers(), Scratch()
        self._logits = TileLogits(self.student, teacher, self._scratch)

    def weights_changed(self) -> None:
        """As of `HeadShard`; nothing is kept from step to step here."""

    @torch.no_grad()
    def s(
        self,
        x: Tensor,
        targets: Tensor,
        *,
        keep: bool = True,
        logit_sum: bool = False,
        teacher: Tensor | None = None,
    ) -> DistributionPass:
        """x [T, h], targets [T]; teacher [T, h_t]: the teacher's hidden states after its final norm, if it has one.
        keep=False: enough for combine alone; without the teacher's hidden states then, nothing of it is looked at."""
        assert not logit_sum, "the logits' sum, which only `HeadShard` makes"
        assert teacher is None or self.teacher is not None, "hidden states of no teacher"
        assert teacher is not None or self.teacher is None or not keep, "a teacher's hidden states are needed"
        check_tokens(x, targets, self.student.weight)
        if teacher is not None and self.teacher is not None:
            check_tokens(teacher, targets, self.teacher.weight)
        local = Targets(targets, self.start, len(self.student.weight))
        pass_ = DistributionPass(x.detach(), local, self._tiling(x, teacher), teacher, self.entropy)
        if keep:
            self._keep(pass_)
        sums = PassSums(pass_, self._logits)
        for start, stop in pass_.plan.bounds:
            sums.add_tile(start, stop)
        pass_.statistics = sums.statistics()
        return pass_

    def _keep(self, pass_: DistributionPass) -> None:
        """Makes room for what U and T need."""
        x, teacher = pass_.x, pass_.teacher
        kept = pass_.plan.kept_columns * (2 if alike(x, teacher) else 1)
        pass_.buffer = self._buffers.take(len(x) * kept, x)
        if self.barriers == 1:
            pass_.product = x.new_zeros(x.shape, dtype=statistics_dtype(x.dtype))
            pass_.moment_product = torch.zeros_like(pass_.product) if self.entropy else None
            pass_.teacher_product = torch.zeros_like(pass_.product) if teacher is not None else None

    @torch.no_grad()
    def combine(self, pass_: DistributionPass, gathered: Tensor) -> LogProbs:
        """After C1: gathered [p, R, T], the statistics by rank; the same bits on every rank."""
        check_gathered(gathered, pass_.statistics)
        pass_.spread, lse = combined(pass_, gathered)
        named = (pass_.spread.entropy, pass_.spread.divergence)
        return log_probs(pass_.spread.student, lse, *(None if of is None else of.clone() for of in named))

    @torch.no_grad()
    def u(self, pass_: DistributionPass, loss: LossValue) -> Tensor:
        """1 barrier, after combine: this rank's part of dX [T, h]."""
        assert pass_.product is not None, "u is called once, after combine, with 1 barrier"
        found = factors(pass_, loss, self.student.curve.scale)
        product, pass_.product = pass_.product, None
        product.mul_(found.exps.unsqueeze(1))
        if pass_.moment_product is not None:
            product.addcmul_(pass_.moment_product, found.moments.unsqueeze(1))
        if pass_.teacher_product is not None:
            product.addcmul_(pass_.teacher_product, found.teacher_exps.unsqueeze(1))
        pass_.moment_product = pass_.teacher_product = None
        self._add_target_(product, pass_, found.target)
        return product

    @torch.no_grad()
    def t(self, pass_: DistributionPass, loss: LossValue) -> Tensor | None:
        """After combine: adds dW and db, frees the pass; with 2 barriers returns dX's part [T, h]."""
        assert pass_.buffer is not None, "t is called once, after s with keep=True"
        assert self.gradient is not None, "rows that don't learn, which only `HeadShard` knows"
        x, found = pass_.x, factors(pass_, loss, self.student.curve.scale)
        kernels = kernels_for(x)
        dx = x.new_zeros(x.shape, dtype=found.exps.dtype) if self.barriers == 2 else None
        # Columns are made relative to the largest factor of their token: 16 bit has no room for small ones.
        largest = torch.maximum(
            torch.maximum(found.exps.abs(), found.moments.abs()), found.teacher_exps.abs()
        )
        largest.clamp_(min=torch.finfo(largest.dtype).tiny)
        relative = [(of / largest).unsqueeze(1) for of in found[:3]]
        for start, stop in pass_.plan.bounds:
            columns = gradient_columns(pass_, self._logits, start, stop, relative)
            rows = slice(start, stop)
            if dx is not None:
                add_product_(dx, columns, self.student.weight[rows], self._scratch, largest)
            add_transposed_product_(self.gradient[rows], columns, x, self._scratch, largest)
            if self.bias_gradient is not None:
                kernels.add_column_sums_(self.bias_gradient[rows], columns, largest, self._scratch)
        self._buffers.give(pass_.buffer)
        pass_.buffer = pass_.teacher = None
        kernels.add_target_rows_(
            self.gradient, self.bias_gradient, x, pass_.targets, found.target, self._scratch
        )
        if dx is not None:
            self._add_target_(dx, pass_, found.target)
        return dx

    def _tiling(self, x: Tensor, teacher: Tensor | None) -> Tiling:
        """S works on a tile for each product beside the logits, T on one."""
        beside = 1 + (self.entropy + (teacher is not None)) * (self.barriers == 1)
        matrices = 1 + (teacher is not None)
        if teacher is not None and not alike(x, teacher):  # worked on in its own dtype, never kept
            matrices, beside = 1, beside + -(-teacher.element_size() // x.element_size())
        rows, again = len(self.student.weight), beside + matrices
        return tiling(
            x, rows, self.budget, beside, matrices=matrices, again=again, share=12, wide_blocks=BLOCKS
        )

    def _add_target_(self, sum_: Tensor, pass_: DistributionPass, factor: Tensor) -> None:
        kernels_for(pass_.x).finished(sum_, self.student.weight, pass_.targets, None, factor, self._scratch)
