"""The rank's rows of the LM head: the passes S and T, with one barrier or two.

After Yeung, Qi, Lin, Wan, "Balancing Pipeline Parallelism with Vocabulary Parallelism", arXiv 2411.05288:
their Algorithm 1 has two barriers, Algorithm 2 one. Theirs sums the softmax's part and the target's part of
dX apart, which cancels where the model is sure; here y's column is left out of the softmax in S and T, and
enters alone with 1 - p_y. T tokens, h hidden, V_r rows of this rank, z = x Wᵀ + bias, l = curve(z).
"""

import torch
from torch import Tensor

from pinisi.errors import ConfigError
from pinisi.vocabulary.buffers import Buffers
from pinisi.vocabulary.products import add_product_, add_transposed_product_
from pinisi.vocabulary.shards import IGNORE_INDEX
from pinisi.vocabulary.statistics import Combined, LogProbs, combine_statistics, statistics_dtype
from pinisi.vocabulary.tiles import Curve, Tile, exponentiate_, tile_bounds


class HeadPass:
    """What S of one microbatch leaves for u and T. `statistics` [3, T] is what C1 gathers: m_r, s_r, l_y.

    m_r and s_r run over the columns that are not y; l_y is -inf where y is another rank's or ignored.
    """

    def __init__(self, x: Tensor, targets: Tensor, start: int, rows: int) -> None:
        self.x = x
        self.valid = targets != IGNORE_INDEX
        local = targets - start
        self.own = (local >= 0) & (local < rows) & self.valid
        self.target = torch.where(self.own, local, -1)
        # A row for every token keeps shapes fixed (no host synchronisation); spread out, so that additions of
        # zero do not all meet in one row.
        self.row = torch.where(self.own, local, torch.arange(len(x), device=x.device) % max(1, rows))
        self.tiles: list[Tile] = []  # views of `buffer`
        self.buffer: Tensor | None = None  # [T·V_r] in the model's dtype, from S to T
        self.statistics: Tensor
        self.target_slope: Tensor  # dl/dz at y, 0 where y is not mine
        self.product: Tensor | None = None  # A_r [T, h], 1 barrier only
        self.combined: Combined | None = None

    @property
    def nbytes(self) -> int:
        """What it holds on to beside x, in bytes."""
        held = [tile.exps for tile in self.tiles] + ([] if self.product is None else [self.product])
        return sum(tensor.nbytes for tensor in held)


class HeadShard:
    """Rows start to start + V_r of the LM head.

    weight [V_r, h] and bias [V_r] in the model's dtype; gradient [V_r, h] and bias_gradient [V_r] in fp32
    (fp64 for an fp64 model), added to and never cleared here, so that a tied embedding may share them. scale
    multiplies the logits, softcap then bounds them by cap·tanh(·/cap).

    For each microbatch: s, then (after an all-gather of the statistics) combine, then u with 1 barrier, and
    t, in any order between microbatches and as late as one likes. x must not be overwritten before t.
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
    ) -> None:
        if barriers not in (1, 2):
            raise ConfigError(f"The vocabulary head has 1 or 2 barriers, got {barriers}; 0 needs no shards.")
        assert gradient.shape == weight.shape and gradient.dtype == statistics_dtype(weight.dtype)
        assert (bias is None) == (bias_gradient is None)
        self.weight = weight.detach()
        self.gradient = gradient
        self.start = start
        self.bias = None if bias is None else bias.detach()
        self.bias_gradient = bias_gradient
        self.curve = Curve(scale, softcap)
        self.barriers = barriers
        self._buffers = Buffers()

    @torch.no_grad()
    def s(self, x: Tensor, targets: Tensor, *, keep: bool = True) -> HeadPass:
        """S: x [T, h] in the weight's dtype, targets [T] (global ids or -100).

        keep=False is for evaluation: enough for combine, nothing for u and t.
        """
        head_pass = HeadPass(x.detach(), targets, self.start, len(self.weight))
        dtype = statistics_dtype(x.dtype)
        maximum = torch.full((len(x),), torch.finfo(dtype).min, dtype=dtype, device=x.device)
        total = torch.zeros_like(maximum)
        bounds = tile_bounds(len(self.weight), x.device)
        widest = bounds[0][1] if bounds else 0
        buffer = self._buffers.take(len(x) * (len(self.weight) if keep else widest), x)
        if keep and self.barriers == 1:
            head_pass.product = x.new_zeros(x.shape, dtype=dtype)
        for start, stop in bounds:
            first = len(x) * start if keep else 0
            exps = buffer[first : first + len(x) * (stop - start)].view(len(x), stop - start)
            self._logits_(exps, x, start, stop)
            highest, part = exponentiate_(exps, head_pass.target - start, maximum, self.curve)
            decay = torch.exp(maximum - highest)
            total.mul_(decay).add_(part)
            maximum = highest
            if head_pass.product is not None:
                head_pass.product.mul_(decay.unsqueeze(1))
                add_product_(head_pass.product, exps, self.weight[start:stop])
            if keep:
                head_pass.tiles.append(Tile(start, stop, exps, maximum))
        if keep:
            head_pass.buffer = buffer
        else:
            self._buffers.give(buffer)
        target, head_pass.target_slope = self._target_logit(head_pass)
        head_pass.statistics = torch.stack((maximum, total, target))
        return head_pass

    @torch.no_grad()
    def combine(self, head_pass: HeadPass, gathered: Tensor) -> LogProbs:
        """After C1: gathered [p, 3, T], the statistics by rank. lp and lse [T] are the same bits on every
        rank.
        """
        combined = combine_statistics(gathered, head_pass.valid)
        head_pass.combined = combined
        return LogProbs(combined.lp, combined.lse)

    @torch.no_grad()
    def u(self, head_pass: HeadPass) -> Tensor:
        """1 barrier, after combine: this rank's part of U = -d lp/dX, [T, h] in the statistics' dtype, in which it is to be
        summed; dX = g ⊙ Σ_r U_r."""
        assert head_pass.product is not None, "u is called once, after combine, with 1 barrier"
        product, head_pass.product = head_pass.product, None
        product.mul_(self._factor(head_pass, head_pass.statistics[0]).unsqueeze(1))
        self._add_target_(product, head_pass, self._target_factor(head_pass))
        return product

    @torch.no_grad()
    def t(self, head_pass: HeadPass, g: Tensor) -> Tensor | None:
        """T, after combine: adds dW and db; frees the pass. g [T] = -dL/dlp. With 2 barriers returns dX_r [T, h] in the
        statistics' dtype, in which it is to be summed."""
        x = head_pass.x
        g = torch.where(head_pass.valid, g, 0.0).to(head_pass.statistics.dtype)
        dx = x.new_zeros(x.shape, dtype=g.dtype) if self.barriers == 2 else None
        assert head_pass.buffer is not None, "t is called once, after s with keep=True"
        for tile in head_pass.tiles:
            factor = self._factor(head_pass, tile.maximum) * g
            if dx is not None:
                add_product_(dx, tile.exps, self.weight[tile.start : tile.stop], factor)
            add_transposed_product_(self.gradient[tile.start : tile.stop], tile.exps, x, factor)
            if self.bias_gradient is not None:
                self.bias_gradient[tile.start : tile.stop].addmv_(tile.exps.to(g.dtype).t(), factor)
        head_pass.tiles.clear()
        self._buffers.give(head_pass.buffer)
        head_pass.buffer = None
        at_target = self._target_factor(head_pass) * g
        if len(self.weight):
            self.gradient.index_add_(0, head_pass.row, x * at_target.neg().unsqueeze(1))
            if self.bias_gradient is not None:
                self.bias_gradient.index_add_(0, head_pass.row, at_target.neg())
        if dx is None:
            return None
        self._add_target_(dx, head_pass, at_target)
        return dx

    def _logits_(self, out: Tensor, x: Tensor, start: int, stop: int) -> None:
        rows = self.weight[start:stop].t()
        if self.bias is None:
            torch.mm(x, rows, out=out)
        else:
            torch.addmm(self.bias[start:stop], x, rows, out=out)

    def _target_logit(self, head_pass: HeadPass) -> tuple[Tensor, Tensor]:
        """l_y and dl/dz at y, [T] each, from a product of their own in the statistics' dtype."""
        dtype, own = statistics_dtype(head_pass.x.dtype), head_pass.own
        if not len(self.weight):
            return own.to(dtype) - torch.inf, own.to(dtype)
        z = (head_pass.x.to(dtype) * self.weight[head_pass.row]).sum(1)
        if self.bias is not None:
            z += self.bias[head_pass.row]
        l, slope = self.curve.logits_(z)
        slope = self.curve.scale * (torch.ones_like(l) if slope is None else slope)
        return torch.where(own, l, -torch.inf), torch.where(own, slope, 0.0)

    def _factor(self, head_pass: HeadPass, maximum: Tensor) -> Tensor:
        """What turns exponentials above `maximum` into -dlp/dz: [T], 0 at ignored tokens."""
        assert head_pass.combined is not None, "combine comes before u and t"
        factor = torch.exp(maximum - head_pass.combined.lse).mul_(self.curve.scale)
        return torch.where(head_pass.valid, factor, 0.0)

    def _target_factor(self, head_pass: HeadPass) -> Tensor:
        """dlp/dz at y, (1 - p_y)·l'(z_y): [T], 0 where y is not mine."""
        assert head_pass.combined is not None, "combine comes before u and t"
        return head_pass.combined.rest * head_pass.target_slope

    def _add_target_(self, sum_: Tensor, head_pass: HeadPass, factor: Tensor) -> None:
        if len(self.weight):
            sum_.addcmul_(self.weight[head_pass.row].to(sum_.dtype), factor.unsqueeze(1), value=-1)
