"""Multiplies matrices in the model's dtype, and adds the products to sums in fp32 (fp64 for an fp64 model).

On a CPU torch makes 16-bit products in 16 bit only. Those of bf16 are made in parts that stay in the cache and join the sum
there; fp16, in which a sum over tokens or rows may not fit, is widened for them.
"""

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import CPU_BLOCK, SMALL_BLOCK, Scratch, part_rows
from pinisi.vocabulary.kernels import kernels_for

DEVICE_ROWS = 8192  # of such a part on a GPU, where a product can't be added to the sum as it is made

# Of a sum [C, h] and columns [T, C]: where each part begins, its rows of the sum, and its columns as [C', T].
Parts = list[tuple[int, Tensor, Tensor]]
Join = Callable[[int, Tensor, Tensor], None]


def add_product(
    sum_: Tensor | None,
    columns: Tensor,
    weight: Tensor,
    dtype: torch.dtype,
    scratch: Scratch,
    factor: Tensor | None = None,
) -> Tensor:
    """sum_ [T, h], or nothing so far, + factor [T] ⊙ (columns [T, C] @ weight [C, h]), in `dtype` and in place."""
    if sum_ is not None:
        add_product_(sum_, columns, weight, scratch, factor)
        return sum_
    product = only_product(columns, weight, dtype, scratch)
    if product.dtype != dtype:
        return kernels_for(columns).added(None, product, factor, scratch)
    return product if factor is None else product.mul_(factor.unsqueeze(1))


def only_product(
    columns: Tensor, weight: Tensor, dtype: torch.dtype, scratch: Scratch | None = None
) -> Tensor:
    """columns [T, C] @ weight [C, h], to which nothing will be added: in `dtype` where torch makes it so, else still in 16 bit,
    and with scratch in working space, where it lives until the next one's."""
    if _to_be_widened(columns):
        product = torch.zeros(len(columns), weight.shape[1], dtype=dtype)
        _add_widened_(product, columns, weight)
        return product
    if columns.dtype == dtype:
        return torch.mm(columns, weight)
    if columns.device.type == "cuda":
        return torch.mm(columns, weight, out_dtype=dtype)
    place = None if scratch is None else _place("hidden", len(columns), weight.shape[1], columns, scratch)
    return torch.mm(columns, weight) if place is None else torch.mm(columns, weight, out=place)


def add_product_(
    sum_: Tensor, columns: Tensor, weight: Tensor, scratch: Scratch, factor: Tensor | None = None
) -> None:
    """sum_ [T, h] += factor [T] ⊙ (columns [T, C] @ weight [C, h])."""
    if sum_.dtype == columns.dtype and factor is None:
        sum_.addmm_(columns, weight)
        return
    if _to_be_widened(columns):
        _add_widened_(sum_, columns, weight, factor)
        return
    if columns.device.type == "cuda" and sum_.dtype != columns.dtype:
        product = torch.mm(columns, weight, out_dtype=sum_.dtype)
    else:
        product = torch.mm(
            columns, weight, out=_place("hidden", sum_.shape[0], sum_.shape[1], columns, scratch)
        )
    kernels_for(columns).added(sum_, product, factor, scratch)


def add_transposed_product_(
    sum_: Tensor,
    columns: Tensor,
    x: Tensor,
    scratch: Scratch,
    factor: Tensor | None = None,
    *,
    room: int = 0,
    parts: Parts | None = None,
    join: Join | None = None,
) -> None:
    """sum_ [C, h] += columnsᵀ [C, T] @ (factor [T] ⊙ x [T, h]), the gradient of a tile's weight rows.

    Where `made_in_parts`: room: numbers for which there is room beside (see `part_rows`); parts: how it was cut, to be filled or
    to be used again with the same tensors; join: who adds a part's product to the sum, given its first row and both.
    """
    if sum_.dtype == columns.dtype:
        sum_.addmm_(columns.t(), x if factor is None else kernels_for(x).scaled(x, factor, scratch))
        return
    if made_in_parts(columns):
        parts = [] if parts is None else parts
        if not parts:
            parts += _parts(sum_, columns, room)
        assert not parts or parts[0][2].data_ptr() == columns.data_ptr(), "parts of other columns"
        _add_in_parts_(
            parts, x if factor is None else kernels_for(x).scaled(x, factor, scratch), scratch, join
        )
        return
    if _to_be_widened(columns):
        half = max(1, -(-x.shape[1] // 2))  # two halves in fp32, one after the other, are as large as x
        for to, of in zip(sum_.split(half, 1), x.split(half, 1), strict=True):
            wide = scratch.copy(of, sum_.dtype)
            wide = wide if factor is None else wide.mul_(factor.unsqueeze(1))
            for part in _columns_at_a_time(columns):
                to[part].addmm_(columns[:, part].to(sum_.dtype).t(), wide)
        return
    largest = None
    if columns.dtype == torch.float16 and factor is not None:
        # fp16 has no room for small factors: they enter relative to the largest, which joins the sum in fp32.
        largest = largest_of(factor)
        factor = factor / largest
    scaled = x if factor is None else kernels_for(x).scaled(x, factor, scratch)
    if largest is None and adds_to_wide(columns.dtype, columns.device):
        torch.addmm(sum_, columns.t(), scaled, out_dtype=sum_.dtype, out=sum_)
        return
    for first in range(0, len(sum_), DEVICE_ROWS):
        part = slice(first, first + DEVICE_ROWS)
        product = torch.mm(columns[:, part].t(), scaled, out_dtype=sum_.dtype)
        each = None if largest is None else largest.expand(len(product))
        kernels_for(columns).added(sum_[part], product, each, scratch)


def made_in_parts(columns: Tensor) -> bool:
    """Whether `add_transposed_product_` makes its product in parts that stay in a cache."""
    return columns.dtype == torch.bfloat16 and columns.device.type == "cpu"


def largest_of(factor: Tensor) -> Tensor:
    """The largest of factor [T] without its sign, above 0, to divide by it."""
    least = torch.finfo(factor.dtype).tiny
    return factor.abs().amax().clamp(min=least) if len(factor) else factor.new_full((), least)


def _to_be_widened(columns: Tensor) -> bool:
    return columns.dtype == torch.float16 and columns.device.type == "cpu"


def _columns_at_a_time(columns: Tensor) -> Iterable[slice]:
    width = max(64, SMALL_BLOCK // max(1, len(columns)))
    return (slice(start, start + width) for start in range(0, columns.shape[1], width))


def _add_widened_(sum_: Tensor, columns: Tensor, weight: Tensor, factor: Tensor | None = None) -> None:
    """sum_ [T, h] += factor [T] ⊙ (columns [T, C] @ weight [C, h]), the product in the sum's dtype."""
    for part in _columns_at_a_time(columns):
        wide = columns[:, part].to(sum_.dtype)
        sum_.addmm_(wide if factor is None else wide.mul_(factor.unsqueeze(1)), weight[part].to(sum_.dtype))


def _parts(sum_: Tensor, columns: Tensor, room: int) -> Parts:
    tokens, hidden = len(columns), sum_.shape[1]
    # As many rows as stay in the cache, or half as many as x has, which is arranged anew for each part.
    cached = max(CPU_BLOCK // hidden, tokens // 2)
    height = min(part_rows(len(sum_), tokens, hidden, room), -(-cached // 32) * 32)
    left = columns.t()
    return [
        (first, sum_[first : first + height], left[first : first + height])
        for first in range(0, len(sum_), height)
    ]


def _add_in_parts_(parts: Parts, right: Tensor, scratch: Scratch, join: Join | None) -> None:
    """Each part of a sum [C, h] += its part of [C, T] @ right [T, h] on a CPU."""
    scratch.drop("block")  # beside a part there is room for a smaller one
    for first, to, left in parts:
        place = _place("part", len(left), right.shape[1], right, scratch)
        product = torch.mm(left, right, out=place)
        if join is None:
            kernels_for(right).added(to, product, None, scratch)
        else:
            join(first, to, product)


@cache
def adds_to_wide(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this torch adds a product of 16-bit matrices to an fp32 one as it makes it; some versions that have addmm's
    out_dtype want the sum in 16 bit, too."""
    narrow, wide = (torch.zeros(16, 16, dtype=of, device=device) for of in (dtype, torch.float32))
    try:
        torch.addmm(wide, narrow, narrow, out_dtype=torch.float32, out=wide)
    except RuntimeError:
        return False
    return True


def _place(name: str, rows: int, columns: int, like: Tensor, scratch: Scratch) -> Tensor:
    return scratch.take(name, rows, columns, like.dtype, like.device)
