"""Holds a rank's rows of the LM head, with the passes S and T, for one barrier or two.

After Yeung, Qi, Lin, Wan, "Balancing Pipeline Parallelism with Vocabulary Parallelism", arXiv 2411.05288:
their Algorithm 1 has two barriers, Algorithm 2 one. Theirs sums the softmax's part and the target's part of
dX apart, which cancels where the model is sure; here y's column is left out of the softmax in S and T, and
enters alone, for cross-entropy with 1 - p_y. T tokens, h hidden, V_r rows of this rank, z = x Wᵀ + bias, l = curve(z).
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pinisi.losses import LogProbs, LossValue
from pinisi.vocabulary.buffers import TOKEN_BLOCK, Buffers, Scratch, blocks
from pinisi.vocabulary.checks import check_derivatives, check_gathered, check_shard, check_tokens
from pinisi.vocabulary.head_pass import HeadPass, Place, Rows, Tile, Tiling, aligned, places_in, tiling
from pinisi.vocabulary.products import (
    add_product,
    add_transposed_product_,
    largest_of,
    made_in_parts,
    only_product,
)
from pinisi.vocabulary.projection import Projection
from pinisi.vocabulary.statistics import statistics_dtype
from pinisi.vocabulary.tiles import Curve


class _Coefficients(NamedTuple):
    """Holds what a loss' derivatives make of each column, [T] each in the statistics' dtype, 0 at ignored tokens.

    softmax = by_logsumexp - by_log_prob, with which p_v enters dL/dl_v at every column but y; target = by_log_prob (1 - p_y) +
    by_logsumexp p_y at y; each = by_logit_sum at every column. factor: what turns exponentials above the shard's maximum into
    dL/dz.
    """

    softmax: Tensor
    target: Tensor
    each: Tensor | None
    factor: Tensor


class HeadShard:
    """Rows start to start + V_r of the LM head.

    weight [V_r, h] and bias [V_r] in the model's dtype; gradient [V_r, h] and bias_gradient [V_r] in fp32
    (fp64 for an fp64 model), added to and never cleared here, so that a tied embedding may share them; None where the rows don't
    learn: T then makes dX at most. curve: from z to logits.

    For each microbatch: s, then (after an all-gather of the statistics) combine, then u with 1 barrier, and
    t, in any order between microbatches and as late as one likes. x must not be overwritten before t.

    A loss enters u and t by its derivatives (see `LossValue`):
    dL/dl_v = by_log_prob (1[v = y] - p_v) + by_logsumexp p_v + by_logit_sum.
    Autograd records nothing: what is given is detached. Who changes the weights says so by `weights_changed`.

    budget: bytes of [T, V_r] numbers that a microbatch may hold, at work and from S to T. None: all are kept, in the model's
    dtype, and S and T take 6·T·h·V_r FLOPs. What does not fit T makes again, as exactly, from another 2·T·h per column; 0:
    nothing is kept.
    """

    def __init__(
        self,
        weight: Tensor,
        gradient: Tensor | None,
        start: int,
        *,
        bias: Tensor | None = None,
        bias_gradient: Tensor | None = None,
        curve: Curve = Curve(),
        barriers: int = 1,
        budget: int | None = None,
    ) -> None:
        check_shard(weight, gradient, bias, bias_gradient, barriers, budget)
        self.weight = weight.detach()
        self.gradient = gradient
        self.start = start
        self.bias = None if bias is None else bias.detach()
        self.bias_gradient = bias_gradient
        self.curve = curve
        self.barriers = barriers
        self.budget = budget
        self._buffers = Buffers()
        self._scratch = Scratch()
        self._row_sum: Tensor | None = None
        self._cut: tuple[tuple[Any, ...], Tiling, list[Rows]] | None = None  # of the last pass

    @property
    def projection(self) -> Projection:
        """The rows as others read them: a student's teacher, say."""
        return Projection(self.weight, self.bias, self.curve)

    def weights_changed(self) -> None:
        """To be called between a change of weight or bias and the next s."""
        self._row_sum = self._cut = None

    def s(
        self,
        x: Tensor,
        targets: Tensor,
        *,
        keep: bool = True,
        logit_sum: bool = False,
        teacher: Tensor | None = None,
    ) -> HeadPass:
        """S: x [T, h] in the weight's dtype, targets [T] (global ids or -100).

        keep=False is for evaluation: enough for combine, nothing for u and t. logit_sum=True, the same on all ranks, is for
        losses that read Σ_v l_v: a vector per step without a soft-cap; with one a product more in S (1 barrier), and what is
        kept for T are logits, not exponentials. teacher: None, see `DistributionHead`.
        """
        assert teacher is None, "a teacher's hidden states, which only `DistributionHead` reads"
        check_tokens(x, targets, self.weight)
        head_pass = HeadPass(x, targets, self.start, self.weight.shape[0], logit_sum)
        capped_sum = head_pass.statistics[3].zero_() if logit_sum and self.curve.softcap is not None else None
        head_pass.keeps_logits = keep and capped_sum is not None
        # Many small operators: before the products, which leave a CPU's cache to nothing else.
        head_pass.target_slope = head_pass.kernels.target_logits(
            head_pass.x,
            self.weight,
            self.bias,
            head_pass.targets,
            head_pass.statistics,
            self.curve,
            self._scratch,
        )
        self._sum_tiles(head_pass, keep, capped_sum)
        if capped_sum is not None:  # U, with two products beside what is kept, has no room for these
            self._scratch.drop("tile")
            self._scratch.drop("slopes")
        elif logit_sum:
            self._uncapped_sum(head_pass.statistics[3], head_pass.x)
        return head_pass

    def _sum_tiles(self, head_pass: HeadPass, keep: bool, capped_sum: Tensor | None) -> None:
        """The tiles' part of the statistics, and with 1 barrier their products; keeps what T needs."""
        x, kernels, dtype = head_pass.x, head_pass.kernels, head_pass.statistics.dtype
        plan, tiles = self._tiling(x, with_slopes=capped_sum is not None)
        places: list[Place] = []
        if keep:
            head_pass.buffer = self._buffers.take(len(x) * aligned(plan.kept_columns, x.device), x)
            places = head_pass.buffer.cut(
                tiles, partial(places_in, head_pass.buffer.flat, len(x), tiles[: plan.kept])
            )
        before = product = slope_product = None
        for index, rows in enumerate(tiles):
            width = rows.stop - rows.start
            kept = places[index] if index < len(places) else None
            z = self._working("tile", x, width) if kept is None else kept.columns
            exps, slopes = z, None
            if head_pass.keeps_logits:
                exps = z if kept is None else self._working("tile", x, width)
                slopes = None if self.barriers == 2 else self._working("slopes", x, width)
            _logits_(z, x, rows)
            so_far = head_pass.statistics if rows is tiles[-1] else x.new_empty((2, len(x)), dtype=dtype)
            kernels.exponentiate_(
                z, exps, head_pass.targets, rows.start, so_far, None if before is None else before[0],
                self.curve, self._scratch, capped_sum, slopes,
            )  # fmt: skip
            if before is not None:
                decay = torch.exp(before[0] - so_far[0])
                so_far[1] += decay * before[1]
                if product is not None:
                    product.mul_(decay.unsqueeze(1))
            before = so_far
            if keep and self.barriers == 1:
                product = (
                    only_product(exps, rows.weight, dtype)
                    if len(tiles) == 1
                    else add_product(product, exps, rows.weight, dtype, self._scratch)
                )
                if slopes is not None:
                    slope_product = add_product(slope_product, slopes, rows.weight, dtype, self._scratch)
            if keep:
                head_pass.tiles.append(Tile(rows, so_far, kept))
        if not tiles:  # a shard without rows
            head_pass.statistics[0].fill_(torch.finfo(dtype).min)
            head_pass.statistics[1].zero_()
        if keep and self.barriers == 1:
            head_pass.product = x.new_zeros(x.shape, dtype=dtype) if product is None else product
            head_pass.slope_product = slope_product

    def combine(self, head_pass: HeadPass, gathered: Tensor) -> LogProbs:
        """After C1: gathered [p, 3 or 4, T], the statistics by rank. lp, lse and logit_sum [T] are the same bits on every
        rank.
        """
        check_gathered(gathered, head_pass.statistics)
        head_pass.combined, seen = head_pass.kernels.combine(_detached(gathered), head_pass.targets)
        return seen

    def u(self, head_pass: HeadPass, loss: LossValue) -> Tensor:
        """1 barrier, after combine: this rank's part of dX, [T, h] in the statistics' dtype, in which it is to be summed."""
        assert head_pass.product is not None, "u is called once, after combine, with 1 barrier"
        product, head_pass.product = head_pass.product, None
        of = self._coefficients(head_pass, loss)
        product = self._finished(product, head_pass, of.factor, of)
        if of.each is not None and head_pass.slope_product is not None:
            product.addcmul_(head_pass.slope_product, of.each.unsqueeze(1))
        elif of.each is not None:
            product.addr_(of.each, self._sum_of_rows()[:-1])
        head_pass.slope_product = None
        return product

    def t(self, head_pass: HeadPass, loss: LossValue) -> Tensor | None:
        """T, after combine: adds dW and db; frees the pass. With 2 barriers returns dX_r [T, h] in the statistics' dtype, in
        which it is to be summed."""
        x = head_pass.x
        if self.gradient is None and self.barriers == 1:
            self._free(head_pass)
            return None
        of = self._coefficients(head_pass, loss)
        kernels, dtype = head_pass.kernels, of.softmax.dtype
        dx = left = None
        only = len(head_pass.tiles) == 1  # then `left` joins y's part in one kernel
        assert head_pass.buffer is not None, "t is called once, after s with keep=True"
        in_parts = made_in_parts(x)
        joins = in_parts and kernels.add_with_target_rows_ is not None  # y's rows each part's product
        if self.gradient is not None and not joins:
            kernels.add_target_rows_(
                self.gradient, self.bias_gradient, x, head_pass.targets, of.target, self._scratch
            )
        for tile in head_pass.tiles:
            columns, left = self._columns(head_pass, tile, self._factor(head_pass, tile, of), of.each)
            rows, room = tile.rows, 0
            if only and self.barriers == 2:
                room = 2 * x.numel()  # of dX in fp32, which is still to come
            elif in_parts and _is_narrow(columns, x):
                columns, left, room = kernels.scaled(columns, left, self._scratch, columns), None, x.numel()
            kept = tile.kept
            parts = kept.parts if kept is not None and columns is kept.columns else None
            join = partial(self._join, head_pass, rows, of.target) if joins else None
            if rows.gradient is not None:
                add_transposed_product_(
                    rows.gradient, columns, x, self._scratch, left, room=room, parts=parts, join=join
                )
            if rows.bias_gradient is not None:
                kernels.add_column_sums_(rows.bias_gradient, columns, left, self._scratch)
            if self.barriers == 2:  # last, next to what is done to its sum
                dx = (
                    only_product(columns, rows.weight, dtype, self._scratch)
                    if only
                    else add_product(dx, columns, rows.weight, dtype, self._scratch, left)
                )
        if self.barriers == 2:
            self._scratch.drop("part")  # of dW, beside which dX would count
            dx = x.new_zeros(x.shape, dtype=dtype) if dx is None else dx
            dx = self._finished(dx, head_pass, left if only else None, of)
        self._free(head_pass)
        if of.each is not None and self.curve.softcap is None:
            self._add_to_each_row(dx, x, of.each)
        return dx

    def _join(
        self, head_pass: HeadPass, rows: Rows, target: Tensor, first: int, gradient: Tensor, product: Tensor
    ) -> None:
        """A product and y's part join dW, and db, in some of a tile's rows, from `first` of them on."""
        count = len(gradient)
        bias_gradient = None if rows.bias_gradient is None else rows.bias_gradient[first : first + count]
        targets = head_pass.targets.among(rows.start + first, count)
        both = head_pass.kernels.add_with_target_rows_
        assert both is not None
        both(gradient, bias_gradient, product, head_pass.x, targets, target)

    def _columns(
        self, head_pass: HeadPass, tile: Tile, factor: Tensor, each: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """A tile's [T, C] and what is left to multiply it by [T]: together dL/dz but for y's own part."""
        if tile.kept is not None and not head_pass.keeps_logits:
            return tile.kept.columns, factor
        x, width = head_pass.x, tile.stop - tile.start
        columns = self._working("tile", x, width)
        z = columns if tile.kept is None else tile.kept.columns
        if tile.kept is None:
            _logits_(z, x, tile.rows)
        mix, left = None, factor
        if head_pass.keeps_logits and each is not None:
            # One tile for both, relative to the largest factor of any token: fp16 has no room for small ones.
            largest = torch.maximum(largest_of(factor), largest_of(each))
            mix, left = (factor / largest, each / largest), largest.expand(len(x))
        head_pass.kernels.exponentiate_again_(
            z, columns, head_pass.targets, tile.start, tile.maximum, self.curve, self._scratch, mix
        )
        return columns, left

    def _tiling(self, x: Tensor, *, with_slopes: bool) -> tuple[Tiling, list[Rows]]:
        """How the shard's columns are cut, in training as in evaluation. Beside kept logits exponentials are worked on, and
        with 1 barrier slopes."""
        case = x.shape[0], x.dtype, with_slopes, self.budget
        if self._cut is None or self._cut[0] != case:  # microbatches are often of one size
            beside = (3 - self.barriers) * with_slopes
            plan = tiling(x, self.weight.shape[0], self.budget, beside)
            self._cut = case, plan, [self._rows(*bounds) for bounds in plan.bounds]
        return self._cut[1:]

    def _rows(self, start: int, stop: int) -> Rows:
        weight, gradient, bias, bias_gradient = (
            None if of is None else of[start:stop]
            for of in (self.weight, self.gradient, self.bias, self.bias_gradient)
        )
        assert weight is not None
        return Rows(start, stop, weight, weight.t(), gradient, bias, bias_gradient)

    def _working(self, name: str, x: Tensor, width: int) -> Tensor:
        return self._scratch.take(name, len(x), width, x.dtype, x.device)

    def _add_to_each_row(self, dx: Tensor | None, x: Tensor, each: Tensor) -> None:
        """The same where every logit of a token has one and the same gradient: sums instead of products."""
        if dx is not None:
            dx.addr_(each, self._sum_of_rows()[:-1])
        if self.gradient is None:
            return
        row = torch.zeros_like(self._sum_of_rows()[:-1])
        for part in blocks(x.shape[0], x.shape[1], x.device, TOKEN_BLOCK):
            row.addmv_(x[part].to(each.dtype).t(), each[part])
        self.gradient.add_(row)
        if self.bias_gradient is not None:
            self.bias_gradient.add_(each.sum())

    def _free(self, head_pass: HeadPass) -> None:
        assert head_pass.buffer is not None
        self._buffers.give(head_pass.buffer)
        head_pass.tiles.clear()
        head_pass.buffer = head_pass.coefficients = None

    def _sum_of_rows(self) -> Tensor:
        """[h + 1]: Σ_v W_v and, last, Σ_v bias_v, of this shard in the statistics' dtype; once for the same weights."""
        if self._row_sum is None:
            dtype = statistics_dtype(self.weight.dtype)
            bias = self.weight.new_zeros(1) if self.bias is None else self.bias
            total = torch.zeros(self.weight.shape[1], dtype=dtype, device=self.weight.device)
            for part in blocks(len(self.weight), len(total), total.device, TOKEN_BLOCK):
                total += self.weight[part].sum(0, dtype=dtype)
            self._row_sum = torch.cat((total, bias.sum(0, keepdim=True, dtype=dtype)))
        return self._row_sum

    def _uncapped_sum(self, out: Tensor, x: Tensor) -> None:
        """out [T] = Σ_v l_v over this shard where l is linear in z."""
        rows = self._sum_of_rows()
        for part in blocks(x.shape[0], x.shape[1], x.device, TOKEN_BLOCK):
            out[part] = torch.mv(x[part].to(rows.dtype), rows[:-1])
        out.add_(rows[-1]).mul_(self.curve.scale)

    def _factor(self, head_pass: HeadPass, tile: Tile, of: _Coefficients) -> Tensor:
        """What turns a tile's exponentials into dL/dz: [T], 0 at ignored tokens."""
        assert head_pass.combined is not None, "combine comes before u and t"
        if tile is head_pass.tiles[-1]:
            return of.factor
        return head_pass.kernels.factor(tile.maximum, head_pass.combined, of.softmax, self.curve.scale)

    def _coefficients(self, head_pass: HeadPass, loss: LossValue) -> _Coefficients:
        """What the loss' derivatives make of the softmax part, of y's column (0 where y is not mine) and of every column. Made
        once where u and t get the same loss."""
        assert head_pass.combined is not None, "combine comes before u and t"
        if head_pass.coefficients is not None and head_pass.coefficients[1] is loss:
            return head_pass.coefficients[0]
        by_log_prob, by_logsumexp, by_logit_sum, by_entropy, by_divergence = loss[1:6]
        assert by_entropy is None and by_divergence is None, "a derivative by what `DistributionHead` makes"
        check_derivatives(head_pass.target_slope, by_log_prob, by_logsumexp, by_logit_sum)
        of_pass = (head_pass.targets, head_pass.combined, head_pass.statistics, head_pass.target_slope)
        made = head_pass.kernels.coefficients(
            *of_pass,
            self.curve.scale,
            _detached(by_log_prob),
            None if by_logsumexp is None else _detached(by_logsumexp),
            None if by_logit_sum is None else _detached(by_logit_sum),
        )
        found = _Coefficients(*made)
        head_pass.coefficients = (found, loss)
        return found

    def _finished(
        self, product: Tensor, head_pass: HeadPass, factor: Tensor | None, of: _Coefficients
    ) -> Tensor:
        """dX_r in the statistics' dtype: its softmax part, `factor` ⊙ product (overwritten where it has that dtype), and y's own
        part."""
        return head_pass.kernels.finished(
            product, self.weight, head_pass.targets, factor, of.target, self._scratch
        )


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.requires_grad else tensor


def _logits_(out: Tensor, x: Tensor, rows: Rows) -> None:
    if rows.bias is None:
        torch.mm(x, rows.transposed, out=out)
    else:
        torch.addmm(rows.bias, x, rows.transposed, out=out)


def _is_narrow(columns: Tensor, x: Tensor) -> bool:
    """Whether columns [T, C] themselves are multiplied by what is left instead of x [T, h]: that costs little more, rounds as much,
    and leaves the room of a scaled x to parts of dW."""
    return columns.shape[1] <= 2 * x.shape[1]
