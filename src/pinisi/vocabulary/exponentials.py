"""Does element-wise work on [T, C] tiles of the logits, in blocks that stay in the cache."""

import math

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import Scratch, blocks
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import statistics_dtype
from pinisi.vocabulary.tiles import Curve

LOG2_E = math.log2(math.e)


def exponentiate_(
    z: Tensor,
    out: Tensor,
    targets: Targets,
    first: int,
    statistics: Tensor,
    floor: Tensor | None,
    curve: Curve,
    scratch: Scratch,
    logit_sum: Tensor | None = None,
    slopes: Tensor | None = None,
) -> None:
    """See `Kernels.exponentiate_`."""
    dtype = statistics_dtype(z.dtype)
    column, inside = _left_out_later(z, targets, first, curve)
    maximum, total = statistics[:2]
    maximum.copy_(floor) if floor is not None else maximum.fill_(torch.finfo(dtype).min)
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
        _exp_(block, highest)
        torch.sum(block, 1, out=total[part])
        _finish_(block, slope, narrow)


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
    column, inside = _left_out_later(z, targets, first, curve)
    for part in blocks(z.shape[0], z.shape[1], z.device):
        block, slope = curve.logits_(_wide(z[part], out[part], scratch))
        if column is not None and inside is not None:
            _leave_out_(block, column[part], inside[part])
        _exp_(block, maximum[part])
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


def _exp_(l: Tensor, maximum: Tensor) -> None:
    """exp(l - maximum) as a power of 2: on a CPU torch.exp2 takes a third of torch.exp's time."""
    l.sub_(maximum.unsqueeze(1)).mul_(LOG2_E).exp2_()


def _finish_(block: Tensor, slope: Tensor | None, out: Tensor) -> None:
    if slope is not None:
        block.mul_(slope)
    if block.data_ptr() != out.data_ptr():
        out.copy_(block)
