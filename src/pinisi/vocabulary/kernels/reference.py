"""The element-wise work of S and T in plain torch operations: any device, any dtype; on a CPU in blocks that stay in the
cache. See `Kernels` for what each function does."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import TOKEN_BLOCK, Scratch, blocks
from pinisi.vocabulary.exponentials import exponentiate_ as once_
from pinisi.vocabulary.exponentials import exponentiate_again_ as again_
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import Combined, combine_statistics, statistics_dtype
from pinisi.vocabulary.tiles import Curve


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
    if floor is None:
        dtype = statistics_dtype(z.dtype)
        floor = z.new_full((len(z),), torch.finfo(dtype).min, dtype=dtype)
    return once_(z, out, targets.local - first, floor, curve, scratch, logit_sum, slopes)


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
    again_(z, out, targets.local - first, maximum, curve, scratch, mix)


def target_logits(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets, curve: Curve, scratch: Scratch
) -> tuple[Tensor, Tensor]:
    dtype, own = statistics_dtype(x.dtype), targets.own
    if not len(weight):
        return own.to(dtype) - torch.inf, own.to(dtype)
    z = torch.zeros(own.shape, dtype=dtype, device=own.device)
    for at, row in _at_targets(targets, x.shape[1]):
        dot = torch.linalg.vecdot(
            scratch.copy(x.index_select(0, at), dtype), weight.index_select(0, row).to(dtype)
        )
        z[at] = dot if bias is None else dot.add_(bias[row])
    l, slope = curve.logits_(z)
    slope = curve.scale * (torch.ones_like(l) if slope is None else slope)
    return torch.where(own, l, -torch.inf), torch.where(own, slope, 0.0)


def combine(gathered: Tensor, targets: Targets) -> Combined:
    return combine_statistics(gathered, targets.valid)


def coefficients(
    targets: Targets,
    combined: Combined,
    maximum: Tensor,
    slope: Tensor,
    scale: float,
    g: Tensor,
    k: Tensor | None = None,
    e: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    dtype, valid = combined.lp.dtype, targets.valid
    g = torch.where(valid, g, 0.0).to(dtype)
    softmax, target = g, -g * combined.rest
    if k is not None:
        k = torch.where(valid, k, 0.0).to(dtype)
        softmax, target = g + k, target + k * combined.lp.exp()
    each = None if e is None else torch.where(valid, e, 0.0).to(dtype) * scale
    return softmax, target * slope, each, factor(maximum, combined, softmax, scale)


def factor(maximum: Tensor, combined: Combined, softmax: Tensor, scale: float) -> Tensor:
    of_all = torch.exp(maximum - combined.lse).mul_(scale).mul_(softmax)
    return torch.where(softmax != 0, of_all, 0.0)


def finish_(
    product: Tensor,
    weight: Tensor,
    targets: Targets,
    factor: Tensor | None,
    target: Tensor,
    scratch: Scratch,
) -> None:
    if factor is not None:
        product.mul_(factor.unsqueeze(1))
    if not len(weight):
        return
    for at, row in _at_targets(targets, product.shape[1]):
        rows = scratch.copy(weight.index_select(0, row), product.dtype)
        product.index_add_(0, at, rows.mul_(target[at].unsqueeze(1)))


def scaled(x: Tensor, factor: Tensor, scratch: Scratch) -> Tensor:
    out = scratch.take("hidden", x.shape[0], x.shape[1], x.dtype, x.device)
    if x.dtype == factor.dtype:
        return torch.mul(x, factor.unsqueeze(1), out=out)
    for part in blocks(x.shape[0], x.shape[1], x.device):
        out[part] = scratch.copy(x[part], factor.dtype).mul_(factor[part].unsqueeze(1))
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
    for at, row in _at_targets(targets, x.shape[1]):
        rows = scratch.copy(x.index_select(0, at), target.dtype)
        gradient.index_add_(0, row, rows.mul_(target[at].unsqueeze(1)))
        if bias_gradient is not None:
            bias_gradient.index_add_(0, row, target[at])


def add_column_sums_(sums: Tensor, columns: Tensor, factor: Tensor | None, scratch: Scratch) -> None:
    ones = sums.new_ones(()).expand(len(columns)) if factor is None else factor
    for part in blocks(columns.shape[0], columns.shape[1], columns.device):
        wide = columns[part] if columns.dtype == sums.dtype else scratch.copy(columns[part], sums.dtype)
        sums.addmv_(wide.t(), ones[part])


def _at_targets(targets: Targets, hidden: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Some tokens at a time of those with a target here: where they stand, and the target's row."""
    places = targets.places
    return (
        (places[part], targets.row[part]) for part in blocks(len(places), hidden, places.device, TOKEN_BLOCK)
    )
