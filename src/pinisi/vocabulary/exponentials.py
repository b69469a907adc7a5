"""Element-wise work on [T, C] tiles of the logits, in blocks that stay in the cache."""

import math

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import Scratch, blocks
from pinisi.vocabulary.statistics import statistics_dtype
from pinisi.vocabulary.tiles import Curve

LOG2_E = math.log2(math.e)


def exponentiate_(
    z: Tensor,
    out: Tensor,
    target: Tensor,
    floor: Tensor,
    curve: Curve,
    scratch: Scratch,
    logit_sum: Tensor | None = None,
    slopes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits before the curve into exponentials; returns (maximum [T], sum [T]).

    z [T, C] in the model's dtype becomes exp(l - maximum)·slope in `out`, which may be z. target [T]: the column of y in
    this tile, or any number outside 0..C-1; that column counts for nothing. floor [T]: the maximum over earlier tiles.
    Only with a soft-cap: logit_sum [T], to which Σ l over all columns is added, and slopes [T, C], which is written.
    """
    maximum, total = floor.clone(), torch.empty_like(floor)
    column, inside = _place(target, z.shape[1])
    if curve.is_identity:
        _leave_out_(z, column, inside)  # once for the tile; a curve would move -inf, so there it comes after
    for part in blocks(z.shape[0], z.shape[1], z.device):
        narrow, highest = out[part], maximum[part]
        block, slope = curve.logits_(_wide(z[part], narrow, scratch))
        if logit_sum is not None:  # before y's column is left out
            logit_sum[part] += block.sum(1)
        if slopes is not None and slope is not None:
            slopes[part] = slope
        if not curve.is_identity:
            _leave_out_(block, column[part], inside[part])
        torch.maximum(block.amax(1), highest, out=highest)
        _exp_(block, highest, narrow=z.dtype.itemsize == 2)
        torch.sum(block, 1, out=total[part])
        _finish_(block, slope, narrow)
    return maximum, total


def exponentiate_again_(
    z: Tensor,
    out: Tensor,
    target: Tensor,
    maximum: Tensor,
    curve: Curve,
    scratch: Scratch,
    mix: tuple[Tensor, Tensor] | None = None,
) -> None:
    """The same exponentials, bit for bit, from the same z and the maximum that is known by now.

    mix: (factor [T], each [T]): `out` is factor ⊙ exponentials + each ⊙ slopes instead, slopes at y's column too.
    """
    column, inside = _place(target, z.shape[1])
    if curve.is_identity:
        _leave_out_(z, column, inside)
    for part in blocks(z.shape[0], z.shape[1], z.device):
        block, slope = curve.logits_(_wide(z[part], out[part], scratch))
        if not curve.is_identity:
            _leave_out_(block, column[part], inside[part])
        _exp_(block, maximum[part], narrow=z.dtype.itemsize == 2)
        if mix is None:
            _finish_(block, slope, out[part])
            continue
        factor, each = (of[part].unsqueeze(1) for of in mix)
        block.mul_(factor).add_(each)
        _finish_(block, slope, out[part])


def _place(target: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Each token's column in this tile, any where it has none, and whether it has one; [T] each."""
    column = target.clamp(0, width - 1)
    return column, target == column


def _leave_out_(l: Tensor, column: Tensor, inside: Tensor) -> None:
    """-inf at the target's column, without asking the host which tokens have one. (scatter_ would make a wide copy of l.)"""
    place = (torch.arange(len(l), device=l.device), column)
    l.index_put_(place, l[place].masked_fill_(inside, -torch.inf))


def _wide(z: Tensor, out: Tensor, scratch: Scratch) -> Tensor:
    """z where it may be overwritten, in the statistics' dtype: in `out` itself, if that has it."""
    dtype = statistics_dtype(z.dtype)
    if out.dtype == dtype:
        return out if out.data_ptr() == z.data_ptr() else out.copy_(z)
    return scratch.copy(z, dtype)


def _exp_(l: Tensor, maximum: Tensor, *, narrow: bool) -> None:
    """exp(l - maximum) as a power of 2: on a CPU torch.exp2 takes a third of torch.exp's time. narrow: l was 16-bit numbers, next
    to whose steps it does not matter that the difference is taken of rounded products, in one go."""
    if narrow:
        below = maximum.mul(-LOG2_E).clamp_(max=torch.finfo(maximum.dtype).max)  # -inf - -inf would be NaN
        torch.add(below.unsqueeze(1), l, alpha=LOG2_E, out=l).exp2_()
    else:
        l.sub_(maximum.unsqueeze(1)).mul_(LOG2_E).exp2_()


def _finish_(block: Tensor, slope: Tensor | None, out: Tensor) -> None:
    if slope is not None:
        block.mul_(slope)
    if block.data_ptr() != out.data_ptr():
        out.copy_(block)
