"""Does the element-wise work of S and T in plain torch operations: any device, any dtype; on a CPU in blocks that stay in the
cache. See `Kernels` for what each function does."""

from collections.abc import Iterable
from itertools import repeat

import torch
from torch import Tensor

from pinisi.losses import LogProbs
from pinisi.vocabulary.buffers import (
    DEVICE_BLOCK,
    TARGET_BYTES,
    TOKEN_BLOCK,
    Scratch,
    block_elements,
    block_rows,
    blocks,
)
from pinisi.vocabulary.exponentials import exponentiate_, exponentiate_again_
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import Combined, combine_statistics, log_probs, statistics_dtype
from pinisi.vocabulary.tiles import Curve

__all__ = [
    "add_column_sums_",
    "add_target_rows_",
    "add_with_target_rows_",
    "added",
    "coefficients",
    "combine",
    "exponentiate_",
    "exponentiate_again_",
    "factor",
    "finished",
    "scaled",
    "target_logits",
]


def target_logits(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Targets,
    statistics: Tensor,
    curve: Curve,
    scratch: Scratch,
) -> Tensor:
    dtype, own = statistics_dtype(x.dtype), targets.own
    z, slope = statistics[2].fill_(-torch.inf), own.to(dtype)
    if not len(weight):
        return slope
    for at, row in _at_targets(targets, x):
        dot = _gathered(x, at, dtype, scratch).mul_(weight.index_select(0, row)).sum(1)
        z.index_copy_(0, at, dot if bias is None else dot.add_(bias[row]))
    scratch.drop("block")  # larger than many that follow
    if not curve.is_identity or z.device.type != "cpu":
        l, of_curve = curve.logits_(z)
        slope *= curve.scale if of_curve is None else of_curve.mul_(curve.scale)
        z.copy_(torch.where(own, l, -torch.inf))
    return slope


def combine(gathered: Tensor, targets: Targets) -> tuple[Combined, LogProbs]:
    combined, lse = combine_statistics(gathered, targets.valid)
    return combined, log_probs(combined, lse)


def coefficients(
    targets: Targets,
    combined: Combined,
    statistics: Tensor,
    slope: Tensor,
    scale: float,
    by_log_prob: Tensor,
    by_logsumexp: Tensor | None = None,
    by_logit_sum: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    dtype, valid = combined.lp.dtype, targets.valid
    by_lp = torch.where(valid, by_log_prob, 0.0).to(dtype)
    target = by_lp * combined.rest
    if by_logsumexp is None:
        softmax = 0.0 - by_lp  # no -0.0 at ignored tokens
    else:
        by_lse = torch.where(valid, by_logsumexp, 0.0).to(dtype)
        softmax, target = by_lse - by_lp, target + by_lse * combined.lp.exp()
    each = None if by_logit_sum is None else torch.where(valid, by_logit_sum, 0.0).to(dtype) * scale
    return softmax, target * slope, each, factor(statistics[0], combined, softmax, scale)


def factor(maximum: Tensor, combined: Combined, softmax: Tensor, scale: float) -> Tensor:
    of_all = combined.probability(maximum).mul_(scale).mul_(softmax)
    return torch.where(softmax != 0, of_all, 0.0)


def added(sum_: Tensor | None, product: Tensor, factor: Tensor | None, scratch: Scratch) -> Tensor:
    dtype = statistics_dtype(product.dtype)
    fresh = sum_ is None
    out = torch.empty(product.shape, dtype=dtype, device=product.device) if sum_ is None else sum_
    rows = block_rows(product.shape[0], product.shape[1], product.device, TOKEN_BLOCK)
    factors = repeat(None) if factor is None else factor.unsqueeze(1).split(rows)
    for to, part, by in zip(out.split(rows), product.split(rows), factors, strict=False):
        if fresh:
            to.copy_(part)
            if by is not None:
                to.mul_(by)
        elif by is None:
            to.add_(part)
        else:
            to.addcmul_(part if part.dtype == dtype else scratch.copy(part, dtype), by)
    return out


def finished(
    product: Tensor,
    weight: Tensor,
    targets: Targets,
    factor: Tensor | None,
    target: Tensor,
    scratch: Scratch,
) -> Tensor:
    if product.dtype != target.dtype:
        product = added(None, product, factor, scratch)
    elif factor is not None:
        product.mul_(factor.unsqueeze(1))
    if len(weight):
        for at, row in _at_targets(targets, weight):
            rows = _gathered(weight, row, product.dtype, scratch)
            product.index_add_(0, at, rows.mul_(target.index_select(0, at).unsqueeze(1)))
    return product


def scaled(x: Tensor, factor: Tensor, scratch: Scratch, out: Tensor | None = None) -> Tensor:
    out = scratch.take("hidden", x.shape[0], x.shape[1], x.dtype, x.device) if out is None else out
    if x.dtype == factor.dtype:
        return torch.mul(x, factor.unsqueeze(1), out=out)
    rows = block_rows(x.shape[0], x.shape[1], x.device, TOKEN_BLOCK)
    for to, part, by in zip(out.split(rows), x.split(rows), factor.unsqueeze(1).split(rows), strict=True):
        to.copy_(scratch.copy(part, factor.dtype).mul_(by))
    return out


def add_target_rows_(
    gradient: Tensor,
    bias_gradient: Tensor | None,
    x: Tensor,
    targets: Targets,
    target: Tensor,
    scratch: Scratch,
) -> None:
    if not len(gradient):
        return
    for at, row in _at_targets(targets, x):
        rows = _gathered(x, at, target.dtype, scratch)
        gradient.index_add_(0, row, rows.mul_(target.index_select(0, at).unsqueeze(1)))
        if bias_gradient is not None:
            bias_gradient.index_add_(0, row, target[at])


add_with_target_rows_ = None


def add_column_sums_(sums: Tensor, columns: Tensor, factor: Tensor | None, scratch: Scratch) -> None:
    for part in blocks(columns.shape[0], columns.shape[1], columns.device):
        block = scratch.copy(columns[part], sums.dtype)
        if factor is not None:
            block.mul_(factor[part].unsqueeze(1))
        sums += block.sum(0)  # addmv would add one token after the other


def _gathered(matrix: Tensor, rows: Tensor, dtype: torch.dtype, scratch: Scratch) -> Tensor:
    """Those rows in `dtype`, where they may be overwritten."""
    found = matrix.index_select(0, rows)
    return found if found.dtype == dtype else scratch.copy(found, dtype)


def _at_targets(targets: Targets, matrix: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Some tokens at a time of those with a target here, for which rows of `matrix` are gathered: where they stand, and the
    target's row."""
    elements = DEVICE_BLOCK
    if matrix.device.type == "cpu":
        elements = min(TARGET_BYTES // matrix.element_size(), block_elements(len(targets.ids) * targets.rows))
    return targets.pieces(max(1, round(len(targets.places) * matrix.shape[1] / elements)))
