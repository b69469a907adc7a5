"""S and T of a shard for losses that read the whole distribution: its entropy, its divergence from a teacher's.

As `head`, with statistics more in C1 and products more in S. p_v is the student's softmax, q_v the teacher's, each from its own
hidden states and its own shard of rows, so that no logits travel; H = -Σ p_v log p_v; D = Σ q_v (log q_v - log p_v). Then
    dH/dl_v = -p_v (log p_v + H)        dD/dl_v = p_v - q_v
and y's column, as always, enters alone, from 1 - p_y and 1 - q_y. With 1 barrier S makes Σ e_v (l_v - m) W_v for H and
Σ t_v W_v for D besides A = Σ e_v W_v, 2·T·h·V_r FLOPs each; with 2 barriers T has all coefficients and needs neither. The
teacher's logits take 2·T·h_t·V_r. Logits, not exponentials, are kept from S to T.
T tokens, h hidden, V_r rows, e_v = exp(l_v - m), t_v the same of the teacher; sums in the statistics' dtype.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses import LogProbs, LossValue
from pinisi.vocabulary.buffers import Buffer, Buffers, Scratch, blocks
from pinisi.vocabulary.checks import check_derivatives, check_gathered, check_shard, check_tokens
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import Tiling, tiling
from pinisi.vocabulary.kernels import Targets, kernels_for, rows_without_gaps
from pinisi.vocabulary.products import add_product_, add_transposed_product_
from pinisi.vocabulary.statistics import Combined, combine_statistics, log_probs, statistics_dtype
from pinisi.vocabulary.tiles import Curve

BLOCKS = 8  # of tokens of a tile in fp32, at a time
LN_2 = math.log(2)
NO_LESS = -1e4  # of a logarithm whose exponential is 0 long before: keeps 0 · it finite


@dataclass(frozen=True)
class Projection:
    """Rows of a head: weight [V_r, h], bias [V_r] or None, and the curve from z to l."""

    weight: Tensor
    bias: Tensor | None
    curve: Curve

    def logits_(self, out: Tensor, x: Tensor, start: int, stop: int) -> Tensor:
        """z [T, C] of the rows start to stop, before the curve."""
        rows = self.weight[start:stop].t()
        if self.bias is None:
            return torch.mm(x, rows, out=out)
        return torch.addmm(self.bias[start:stop], x, rows, out=out)


class Spread(NamedTuple):
    """Of the whole vocabulary, [T] each, None where not asked for. others: H without y's term."""

    student: Combined
    entropy: Tensor | None
    others: Tensor | None
    teacher: Combined | None
    divergence: Tensor | None


class DistributionPass:
    """What S of one microbatch leaves. statistics [R, T]: m_r, s_r, l_y as of `HeadPass`; with entropy Σ e_v (l_v - m_r); with a
    teacher its m_r, s_r, l_y and Σ t_v (lt_v - l_v). All sums run over the columns that are not y."""

    def __init__(self, x: Tensor, targets: Tensor, start: int, rows: int, teacher: Tensor | None) -> None:
        self.x, self.teacher = x, teacher
        self.targets = Targets(targets, start, rows)
        self.plan: Tiling
        # Logits before the curve, then the teacher's, of the kept tiles; None once T has run.
        self.buffer: Buffer | None = None
        self.statistics: Tensor
        self.target_slope: Tensor  # dl/dz at y, 0 where y is not mine
        self.product: Tensor | None = None  # A [T, h] and what else 1 barrier needs of S
        self.moment_product: Tensor | None = None
        self.teacher_product: Tensor | None = None
        self.spread: Spread | None = None

    @property
    def nbytes(self) -> int:
        """What it holds on to beside x and vectors [T]."""
        kept = None if self.buffer is None else self.buffer.flat
        held = (kept, self.product, self.moment_product, self.teacher_product)
        return sum(tensor.nbytes for tensor in held if tensor is not None)


@dataclass
class _Running:
    """Maximum, Σ e_v and a third sum [T] over the tiles so far."""

    maximum: Tensor
    total: Tensor
    third: Tensor


class DistributionHead:
    """The head's shard (see `HeadShard` for what it is given) for losses that read `entropy` or `divergence`.

    teacher: the teacher's rows of the same tokens, its hidden states come with each s. budget: bytes of [T, V_r] numbers, the
    teacher's too where it has the student's dtype; of tiles that do not fit T makes the logits again, from another product each.
    """

    def __init__(
        self,
        weight: Tensor,
        gradient: Tensor,
        start: int,
        *,
        bias: Tensor | None = None,
        bias_gradient: Tensor | None = None,
        scale: float = 1.0,
        softcap: float | None = None,
        barriers: int = 1,
        entropy: bool = False,
        teacher: Projection | None = None,
        budget: int | None = None,
    ) -> None:
        check_shard(weight, gradient, bias, bias_gradient, barriers, budget)
        if teacher is not None and len(teacher.weight) != len(weight):
            raise ConfigError(
                f"The teacher's shard has {len(teacher.weight)} rows, the student's {len(weight)}: divide both vocabularies alike."
            )
        if teacher is not None:
            assert rows_without_gaps(teacher.weight) and rows_without_gaps(teacher.bias)
            kernels_for(teacher.weight)
        self.student = Projection(
            weight.detach(), None if bias is None else bias.detach(), Curve(scale, softcap)
        )
        self.teacher = teacher
        self.gradient, self.bias_gradient = gradient, bias_gradient
        self.start, self.barriers, self.entropy, self.budget = start, barriers, entropy, budget
        self._buffers, self._scratch = Buffers(), Scratch()

    @classmethod
    def of(cls, head: HeadShard, *, entropy: bool, teacher: Projection | None) -> DistributionHead:
        """The same rows and gradient buffers, and the same budget."""
        return cls(
            head.weight,
            head.gradient,
            head.start,
            bias=head.bias,
            bias_gradient=head.bias_gradient,
            scale=head.curve.scale,
            softcap=head.curve.softcap,
            barriers=head.barriers,
            entropy=entropy,
            teacher=teacher,
            budget=head.budget,
        )

    def weights_changed(self) -> None:
        """As of `HeadShard`; nothing is kept from step to step here."""

    # -- S -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def s(
        self, x: Tensor, targets: Tensor, *, keep: bool = True, teacher: Tensor | None = None
    ) -> DistributionPass:
        """x [T, h], targets [T]; teacher [T, h_t]: the teacher's hidden states after its final norm, if it has one.
        keep=False: enough for combine alone; without the teacher's hidden states then, nothing of it is looked at."""
        assert teacher is None or self.teacher is not None, "hidden states of no teacher"
        assert teacher is not None or self.teacher is None or not keep, "a teacher's hidden states are needed"
        rows = len(self.student.weight)
        check_tokens(x, targets, self.student.weight)
        if teacher is not None and self.teacher is not None:
            check_tokens(teacher, targets, self.teacher.weight)
        pass_ = DistributionPass(x.detach(), targets, self.start, rows, teacher)
        dtype = statistics_dtype(x.dtype)
        pass_.plan = self._tiling(x, teacher)
        if keep:
            kept = pass_.plan.kept_columns * (2 if _alike(x, teacher) else 1)
            pass_.buffer = self._buffers.take(len(x) * kept, x)
            if self.barriers == 1:
                pass_.product = x.new_zeros(x.shape, dtype=dtype)
                pass_.moment_product = torch.zeros_like(pass_.product) if self.entropy else None
                pass_.teacher_product = torch.zeros_like(pass_.product) if teacher is not None else None
        lowest = torch.full((len(x),), torch.finfo(dtype).min, dtype=dtype, device=x.device)
        mine, theirs = (
            _Running(lowest, torch.zeros_like(lowest), torch.zeros_like(lowest)) for _ in range(2)
        )
        for start, stop in pass_.plan.bounds:
            self._add_tile(pass_, start, stop, mine, theirs)
        own, pass_.target_slope = self._at_targets(self.student, x, pass_)
        statistics = [mine.maximum, mine.total, own]
        if self.entropy:
            statistics.append(mine.third)
        if self.teacher is not None and teacher is not None:
            their_own, _ = self._at_targets(self.teacher, teacher, pass_)
            statistics += [theirs.maximum, theirs.total, their_own.to(dtype), theirs.third]
        pass_.statistics = torch.stack(statistics)
        return pass_

    def _add_tile(
        self, pass_: DistributionPass, start: int, stop: int, mine: _Running, theirs: _Running
    ) -> None:
        """One tile's part of the statistics, and of the products."""
        rows = self.student.weight[start:stop]
        z = self._logits(pass_, start, stop)
        zt = None if pass_.teacher is None else self._teacher_logits(pass_, start, stop)
        products = (pass_.product, pass_.moment_product, pass_.teacher_product)
        columns = [
            z if product is None else self._place(name, z)
            for name, product in zip(("exps", "moments", "teacher_exps"), products, strict=True)
        ]
        before = _Running(mine.maximum, mine.total, mine.third)
        old_teacher = theirs.maximum
        target = pass_.targets.local - start
        _decay_(mine, _highest(z, self.student.curve, target, mine.maximum, self._scratch), moment=True)
        if zt is not None and self.teacher is not None:
            _decay_(theirs, _highest(zt, self.teacher.curve, target, theirs.maximum, self._scratch))
        for part in blocks(len(z), z.shape[1], z.device):
            self._add_block(pass_, part, start, z, zt, mine, theirs, columns)
        if pass_.product is None:
            return
        decay = torch.exp(before.maximum - mine.maximum).unsqueeze(1)
        if pass_.moment_product is not None:
            lower = (before.maximum - mine.maximum).clamp(min=torch.finfo(decay.dtype).min).unsqueeze(1)
            pass_.moment_product.addcmul_(pass_.product, lower).mul_(decay)
            add_product_(pass_.moment_product, columns[1], rows, self._scratch)
        add_product_(pass_.product.mul_(decay), columns[0], rows, self._scratch)
        if pass_.teacher_product is not None:
            pass_.teacher_product.mul_(torch.exp(old_teacher - theirs.maximum).unsqueeze(1))
            add_product_(pass_.teacher_product, columns[2], rows, self._scratch)

    def _add_block(
        self,
        pass_: DistributionPass,
        part: slice,
        start: int,
        z: Tensor,
        zt: Tensor | None,
        mine: _Running,
        theirs: _Running,
        columns: list[Tensor],
    ) -> None:
        """A block of tokens of one tile: sums, and the columns that the products take, each times l'(z)."""
        target = (pass_.targets.local - start)[part]
        dtype = mine.total.dtype
        l, slope = self.student.curve.logits_(z[part].to(dtype, copy=True))
        if zt is not None and self.teacher is not None:
            lt, _ = self.teacher.curve.logits_(zt[part].to(dtype, copy=True))
            apart = lt - l
            exps = _exps(lt, target, theirs.maximum[part])
            theirs.total[part] += exps.sum(1)
            theirs.third[part] += (exps * apart).sum(1)
            if pass_.teacher_product is not None:
                columns[2][part] = exps if slope is None else exps * slope
        top = mine.maximum[part]
        moments = (l - top.unsqueeze(1)).clamp_(min=NO_LESS) if self.entropy else None
        exps = _exps(l, target, top)
        mine.total[part] += exps.sum(1)
        if moments is not None:
            moments.mul_(exps)
            mine.third[part] += moments.sum(1)
        if pass_.product is not None:
            columns[0][part] = exps if slope is None else exps * slope
        if pass_.moment_product is not None and moments is not None:
            columns[1][part] = moments if slope is None else moments * slope

    # -- between S and T -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def combine(self, pass_: DistributionPass, gathered: Tensor) -> LogProbs:
        """After C1: gathered [p, R, T], the statistics by rank; the same bits on every rank."""
        check_gathered(gathered, pass_.statistics)
        student, lse = combine_statistics(gathered[:, :3], pass_.targets.valid)
        entropy = others = teacher = divergence = None
        if self.entropy:
            others = _entropy_of_others(gathered, student)
            others = torch.where(pass_.targets.valid, others, 0.0)
            entropy = torch.where(pass_.targets.valid, others - student.lp.exp() * student.lp, 0.0)
        if pass_.teacher is not None:
            rows = gathered[:, 3 + self.entropy :]
            teacher, teacher_lse = combine_statistics(rows[:, :3], pass_.targets.valid)
            apart = (teacher.probability(_finite(rows[:, 0])) * rows[:, 3]).sum(0)
            apart = apart - teacher.rest * (teacher_lse - lse)
            divergence = apart + teacher.lp.exp() * (teacher.lp - student.lp)
            divergence = torch.where(pass_.targets.valid, divergence, 0.0)
        pass_.spread = Spread(student, entropy, others, teacher, divergence)
        return log_probs(student, lse, *(None if of is None else of.clone() for of in (entropy, divergence)))

    def _factors(self, pass_: DistributionPass, loss: LossValue) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What multiplies e_v, e_v (l_v - m_r) and t_v in dL/dz_v/l'(z_v), and what dL/dz_y is, [T] each, 0 at ignored
        tokens. m_r: this shard's maximum over all its columns but y's."""
        spread = pass_.spread
        assert spread is not None, "combine comes before u and t"
        assert loss.by_logit_sum is None, "a derivative by the logits' sum, which only `HeadShard` makes"
        assert loss.by_entropy is None or self.entropy, "a derivative by an entropy that was not asked for"
        assert loss.by_divergence is None or self.teacher is not None, (
            "a derivative by the divergence from no teacher"
        )
        given = (loss.by_log_prob, loss.by_logsumexp, loss.by_entropy, loss.by_divergence)
        check_derivatives(pass_.target_slope, *given)
        zero, student, scale = torch.zeros_like(spread.student.lp), spread.student, self.student.curve.scale
        by_lp, by_lse, by_entropy, by_divergence = (
            zero if of is None else torch.where(pass_.targets.valid, of, 0.0).to(zero.dtype) for of in given
        )
        p_y = student.lp.exp()
        softmax, target = by_lse - by_lp + by_divergence, by_lse * p_y + by_lp * student.rest
        top = pass_.statistics[0]
        if spread.entropy is not None and spread.others is not None:
            softmax = softmax - by_entropy * (
                student.log_probability(top).clamp_(min=NO_LESS) + spread.entropy
            )
            target = target - by_entropy * p_y * (student.rest * student.lp + spread.others)
        factor = student.probability(top) * scale
        theirs = zero
        if spread.teacher is not None:
            target = target + by_divergence * _difference(student, spread.teacher)
            theirs = -by_divergence * spread.teacher.probability(pass_.statistics[3 + self.entropy]) * scale
        return factor * softmax, -by_entropy * factor, theirs, target * pass_.target_slope

    @torch.no_grad()
    def u(self, pass_: DistributionPass, loss: LossValue) -> Tensor:
        """1 barrier, after combine: this rank's part of dX [T, h]."""
        assert pass_.product is not None, "u is called once, after combine, with 1 barrier"
        exps, moments, theirs, target = self._factors(pass_, loss)
        product, pass_.product = pass_.product, None
        product.mul_(exps.unsqueeze(1))
        if pass_.moment_product is not None:
            product.addcmul_(pass_.moment_product, moments.unsqueeze(1))
        if pass_.teacher_product is not None:
            product.addcmul_(pass_.teacher_product, theirs.unsqueeze(1))
        pass_.moment_product = pass_.teacher_product = None
        self._add_target_(product, pass_, target)
        return product

    # -- T -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def t(self, pass_: DistributionPass, loss: LossValue) -> Tensor | None:
        """After combine: adds dW and db, frees the pass; with 2 barriers returns dX's part [T, h]."""
        assert pass_.buffer is not None, "t is called once, after s with keep=True"
        x, (exps, moments, theirs, target) = pass_.x, self._factors(pass_, loss)
        kernels = kernels_for(x)
        dx = x.new_zeros(x.shape, dtype=exps.dtype) if self.barriers == 2 else None
        # Columns are made relative to the largest factor of their token: 16 bit has no room for small ones.
        largest = torch.maximum(torch.maximum(exps.abs(), moments.abs()), theirs.abs())
        largest.clamp_(min=torch.finfo(largest.dtype).tiny)
        relative = [(of / largest).unsqueeze(1) for of in (exps, moments, theirs)]
        for start, stop in pass_.plan.bounds:
            columns = self._gradient_columns(pass_, start, stop, relative)
            rows = slice(start, stop)
            if dx is not None:
                add_product_(dx, columns, self.student.weight[rows], self._scratch, largest)
            add_transposed_product_(self.gradient[rows], columns, x, self._scratch, largest)
            if self.bias_gradient is not None:
                kernels.add_column_sums_(self.bias_gradient[rows], columns, largest, self._scratch)
        self._buffers.give(pass_.buffer)
        pass_.buffer = pass_.teacher = None
        kernels.add_target_rows_(self.gradient, self.bias_gradient, x, pass_.targets, target, self._scratch)
        if dx is not None:
            self._add_target_(dx, pass_, target)
        return dx

    def _gradient_columns(
        self, pass_: DistributionPass, start: int, stop: int, relative: list[Tensor]
    ) -> Tensor:
        """[T, C]: dL/dz of a tile but for y's own part and the factor that is left."""
        z = self._logits(pass_, start, stop, again=False)
        zt = None if pass_.teacher is None else self._teacher_logits(pass_, start, stop, again=False)
        out, top = self._place("exps", z), pass_.statistics[0]
        exps, moments, theirs = relative
        for part in blocks(len(z), z.shape[1], z.device):
            target = (pass_.targets.local - start)[part]
            l, slope = self.student.curve.logits_(z[part].to(top.dtype, copy=True))
            below = (l - top[part].unsqueeze(1)).clamp_(min=NO_LESS)
            found = _exps(l, target, top[part]) * torch.addcmul(exps[part], moments[part], below)
            if zt is not None and self.teacher is not None:
                lt, _ = self.teacher.curve.logits_(zt[part].to(top.dtype, copy=True))
                found += _exps(lt, target, pass_.statistics[3 + self.entropy][part]) * theirs[part]
            out[part] = found if slope is None else found * slope
        return out

    # -- places --------------------------------------------------------------------------------------------------------

    def _tiling(self, x: Tensor, teacher: Tensor | None) -> Tiling:
        """S works on a tile for each product beside the logits, T on one."""
        beside = 1 + (self.entropy + (teacher is not None)) * (self.barriers == 1)
        matrices = 1 + (teacher is not None)
        if teacher is not None and not _alike(x, teacher):  # worked on in its own dtype, never kept
            matrices, beside = 1, beside + -(-teacher.element_size() // x.element_size())
        rows, again = len(self.student.weight), beside + matrices
        return tiling(
            x, rows, self.budget, beside, matrices=matrices, again=again, share=12, wide_blocks=BLOCKS
        )

    def _at_targets(self, of: Projection, x: Tensor, pass_: DistributionPass) -> tuple[Tensor, Tensor]:
        statistics = x.new_empty((3, len(x)), dtype=statistics_dtype(x.dtype))
        slopes = kernels_for(x).target_logits(
            x, of.weight, of.bias, pass_.targets, statistics, of.curve, self._scratch
        )
        return statistics[2], slopes

    def _logits(self, pass_: DistributionPass, start: int, stop: int, *, again: bool = True) -> Tensor:
        place = self._kept(pass_, 0, start, stop)
        if place is None:
            place = self._scratch.take("logits", len(pass_.x), stop - start, pass_.x.dtype, pass_.x.device)
        elif not again:
            return place
        return self.student.logits_(place, pass_.x, start, stop)

    def _teacher_logits(
        self, pass_: DistributionPass, start: int, stop: int, *, again: bool = True
    ) -> Tensor:
        assert self.teacher is not None and pass_.teacher is not None
        x = pass_.teacher
        place = self._kept(pass_, 1, start, stop) if _alike(x, pass_.x) else None
        if place is None:
            place = self._scratch.take("teacher", len(x), stop - start, x.dtype, x.device)
        elif not again:
            return place
        return self.teacher.logits_(place, pass_.teacher, start, stop)

    def _kept(self, pass_: DistributionPass, which: int, start: int, stop: int) -> Tensor | None:
        kept = pass_.plan.kept_columns
        if pass_.buffer is None or stop > kept:
            return None
        tokens, first = len(pass_.x), which * kept
        place = slice(tokens * (first + start), tokens * (first + stop))
        return pass_.buffer.flat[place].view(tokens, stop - start)

    def _place(self, name: str, like: Tensor) -> Tensor:
        return self._scratch.take(name, len(like), like.shape[1], like.dtype, like.device)

    def _add_target_(self, sum_: Tensor, pass_: DistributionPass, factor: Tensor) -> None:
        kernels_for(pass_.x).finished(sum_, self.student.weight, pass_.targets, None, factor, self._scratch)


def _alike(x: Tensor, other: Tensor | None) -> bool:
    return other is not None and other.dtype == x.dtype


def _inside(target: Tensor, width: int) -> tuple[Tensor, Tensor]:
    column = target.clamp(0, width - 1)
    return column.unsqueeze(1), (target == column).unsqueeze(1)


def _highest(z: Tensor, curve: Curve, target: Tensor, floor: Tensor, scratch: Scratch) -> Tensor:
    """The maximum [T] of floor and of l over a tile's columns but the target's."""
    result = torch.empty_like(floor)
    for part in blocks(len(z), z.shape[1], z.device):
        l, _ = curve.logits_(scratch.copy(z[part], floor.dtype))
        column, inside = _inside(target[part], z.shape[1])
        l.scatter_(1, column, l.gather(1, column).masked_fill_(inside, -torch.inf))
        result[part] = torch.maximum(l.amax(1), floor[part])
    return result


def _exps(l: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    """exp(l - maximum) in l, 0 at the target's column."""
    column, inside = _inside(target, l.shape[1])
    l.sub_(maximum.unsqueeze(1)).exp_()
    return l.scatter_(1, column, l.gather(1, column).masked_fill_(inside, 0.0))


def _decay_(sums: _Running, highest: Tensor, *, moment: bool = False) -> None:
    """Sums above a higher maximum; with moment the third sum is of e_v (l_v - maximum)."""
    decay = torch.exp(sums.maximum - highest)
    if moment:
        lower = (sums.maximum - highest).clamp(min=torch.finfo(highest.dtype).min)
        sums.third = sums.third + lower * sums.total
    sums.third, sums.total, sums.maximum = sums.third * decay, sums.total * decay, highest


def _finite(maxima: Tensor) -> Tensor:
    return maxima.clamp(min=torch.finfo(maxima.dtype).min)


def _entropy_of_others(gathered: Tensor, student: Combined) -> Tensor:
    """Σ -p_v log p_v over v ≠ y: every rank's term is positive, so nothing cancels."""
    maxima, sums, moments = _finite(gathered[:, 0]), gathered[:, 1], gathered[:, 3]
    below = student.log_probability(maxima).clamp_(min=NO_LESS)
    return (student.probability(maxima) * (-sums * below - moments)).sum(0)


def _difference(student: Combined, teacher: Combined) -> Tensor:
    """p_y - q_y [T], of what both are exact in: two small numbers, or two that are near 1."""
    small = torch.maximum(student.lp, teacher.lp) < -LN_2
    return torch.where(small, student.lp.exp() - teacher.lp.exp(), teacher.rest - student.rest)
