"""Element-wise work on [T, C] tiles of the logits, in blocks that stay in the cache."""

import math

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import Scratch, block_rows, blocks
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import statistics_dtype
from pinisi.vocabulary.tiles import Curve

LOG2_E = math.log2(math.e)
# e^30 times any number of rows is far from the range's end, and so is a token's weight in a large step over that: products of
# bf16 take subnormal numbers for 0.
MODERATE = 30.0
# From here on bf16's own steps of the logits hide those of their exponentials, of which few may make most of a sum.
CLOSE = 2.0
CLOSE_BITS, MODERATE_BITS = (
    int(torch.tensor(of, dtype=torch.bfloat16).view(torch.int16)) for of in (CLOSE, MODERATE)
)
# Reference of a token whose largest logit is 0, so that it is made with those that have one.
NOT_QUITE_0 = 2.0**-20
ENOUGH = 256  # columns among which the rounding of single exponentials is lost


def exponentiate_(
    z: Tensor,
    out: Tensor,
    targets: Targets,
    first: int,
    floor: Tensor | None,
    curve: Curve,
    scratch: Scratch,
    logit_sum: Tensor | None = None,
    slopes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `Kernels.exponentiate_`."""
    dtype = statistics_dtype(z.dtype)
    if _is_in_place(z, curve):
        _leave_out_in(out, z, targets, first)
        references, moderate = _references(out.view(torch.int16), floor)
        return references, _exponentiate_in_place(out, references, moderate, scratch, sums=True)
    column, inside = _left_out_later(z, targets, first, curve)
    total = torch.empty(len(z), dtype=dtype, device=z.device)
    maximum = torch.full_like(total, torch.finfo(dtype).min) if floor is None else floor.clone()
    for part in blocks(z.shape[0], z.shape[1], z.device):
        narrow, highest = out[part], maximum[part]
        block, slope = curve.logits_(_wide(z[part], narrow, scratch))
        if logit_sum is not None:  # before y's column is left out
            logit_sum[part] += block.sum(1)
        if slopes is not None and slope is not None:
            slopes[part] = slope
        if column is not None and inside is not None:
            _leave_out_(block, column[part], inside[part])
        torch.maximum(block.amax(1), highest, out=highest)
        _exp_(block, highest, narrow=z.dtype.itemsize == 2)
        torch.sum(block, 1, out=total[part])
        _finish_(block, slope, narrow)
    return maximum, total


def exponentiate_again_(
    z: Tensor,
    out: Tensor,
    targets: Targets,
    first: int,
    maximum: Tensor,
    curve: Curve,
    scratch: Scratch,
    mix: tuple[Tensor, Tensor] | None = None,
) -> None:
    """See `Kernels.exponentiate_again_`."""
    if mix is None and _is_in_place(z, curve):
        _leave_out_in(out, z, targets, first)
        _exponentiate_in_place(out, maximum, not maximum.any(), scratch, sums=False)
        return
    column, inside = _left_out_later(z, targets, first, curve)
    for part in blocks(z.shape[0], z.shape[1], z.device):
        block, slope = curve.logits_(_wide(z[part], out[part], scratch))
        if column is not None and inside is not None:
            _leave_out_(block, column[part], inside[part])
        _exp_(block, maximum[part], narrow=z.dtype.itemsize == 2)
        if mix is None:
            _finish_(block, slope, out[part])
            continue
        factor, each = (of[part].unsqueeze(1) for of in mix)
        block.mul_(factor).add_(each)
        _finish_(block, slope, out[part])


def _left_out_later(
    z: Tensor, targets: Targets, first: int, curve: Curve
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Leaves y's columns out of the whole tile, unless a curve would move -inf: then it comes after the curve, in blocks, and
    this answers with each token's column and whether it has one."""
    if curve.is_identity and z.device.type == "cpu":
        at, column = targets.places_within(first, z.shape[1])
        z.index_put_((at, column), z.new_full((), -torch.inf))
        return None, None
    dense = targets.columns(first, z.shape[1])
    if not curve.is_identity:
        return dense
    _leave_out_(z, *dense)
    return None, None


def _is_in_place(z: Tensor, curve: Curve) -> bool:
    """Whether exponentials are taken of 16-bit numbers where they lie: bf16, which has fp32's range, on a CPU. Most tokens' sums
    are then those of the rounded ones, with which T will multiply; with few columns that would show in lp."""
    return curve.is_identity and z.dtype == torch.bfloat16 and z.device.type == "cpu" and z.shape[1] >= ENOUGH


def _references(bits: Tensor, floor: Tensor | None) -> tuple[Tensor, bool]:
    """What bf16 logits [T, C] of these bits are taken relative to, [T]: 0, which costs nothing, where a token's largest so far
    is moderate, CLOSE to MODERATE without its sign, so that neither its exponentials nor their sum leave the range, and
    rounding them does not show; else that largest one, or almost. And whether all are 0.

    Maxima are taken of the bits, which is ten times as fast: as integers, positive numbers are in order, negative ones in
    reverse, below them.
    """
    highest = bits.amax(1)
    least, most = (int(one) for one in highest.aminmax()) if len(bits) else (CLOSE_BITS, MODERATE_BITS)
    if floor is None and least >= CLOSE_BITS and most <= MODERATE_BITS:
        return torch.zeros(len(bits)), True
    if least < 0:
        highest = torch.where(highest < 0, bits.amin(1), highest)
    largest = highest.view(torch.bfloat16).float()
    if floor is not None:
        torch.maximum(largest, floor, out=largest)
    size = largest.abs()
    largest.masked_fill_(size == 0, NOT_QUITE_0).masked_fill_((size >= CLOSE) & (size <= MODERATE), 0.0)
    return largest, not largest.any()


def _leave_out_in(out: Tensor, z: Tensor, targets: Targets, first: int) -> None:
    """out = z but for y's columns, which become -inf."""
    if out.data_ptr() != z.data_ptr():
        out.copy_(z)
    out.index_put_(targets.places_within(first, z.shape[1]), out.new_full((), -torch.inf))


def _exponentiate_in_place(
    l: Tensor, references: Tensor, moderate: bool, scratch: Scratch, *, sums: bool
) -> Tensor:
    """l [T, C] of bf16 = exp(l - references); returns its sums over columns [T] if these are asked for. A token's are the same bits
    whatever others there are: those with a reference other than 0 are made, and summed, in fp32. moderate: there are none."""
    rows = block_rows(l.shape[0], l.shape[1], l.device)
    total = torch.empty(len(l))
    for exps, relative_to, part in zip(l.split(rows), references.split(rows), total.split(rows), strict=True):
        apart = None if moderate else relative_to.nonzero().flatten()
        if apart is not None and len(apart):
            block = scratch.copy(exps.index_select(0, apart), references.dtype)
            _exp_(block, relative_to[apart], narrow=True)
            precise, rounded = block.sum(1), block.to(exps.dtype)
        if apart is None or len(apart) < len(exps):  # of a fresh model's small logits all are
            exps.exp_()
            if sums:
                torch.sum(scratch.copy(exps, references.dtype), 1, out=part)
        if apart is not None and len(apart):
            part.index_copy_(0, apart, precise)
            exps.index_copy_(0, apart, rounded)
    return total


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
