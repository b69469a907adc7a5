"""Matrix products in the model's dtype, added to sums in fp32 (fp64 for an fp64 model).

On a CPU torch makes 16-bit products in 16 bit only. Those of bf16 are made in parts that stay in the cache and join the sum
there; fp16, in which a sum over tokens or rows may not fit, is widened for them.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import repeat

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import CPU_BLOCK, SMALL_BLOCK, Scratch, block_rows, part_rows
from pinisi.vocabulary.kernels import kernels_for

DEVICE_ROWS = 8192  # of such a part on a GPU, where a product can't be added to the sum as it is made


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
    if columns.dtype != dtype and columns.device.type != "cuda" and not _to_be_widened(columns):
        place = _place("hidden", len(columns), weight.shape[1], columns, scratch)
        return widened(place, dtype, factor, partial(torch.mm, columns, weight, out=place))
    product = only_product(columns, weight, dtype)
    return product if factor is None else product.mul_(factor.unsqueeze(1))


def only_product(columns: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """columns [T, C] @ weight [C, h], to which nothing will be added: in `dtype` where torch makes it so, else still in 16 bit."""
    if _to_be_widened(columns):
        product = torch.zeros(len(columns), weight.shape[1], dtype=dtype)
        _add_widened_(product, columns, weight)
        return product
    if columns.dtype != dtype and columns.device.type == "cuda":
        return torch.mm(columns, weight, out_dtype=dtype)
    return torch.mm(columns, weight)


def widened(
    product: Tensor, dtype: torch.dtype, factor: Tensor | None, make: Callable[[], object] | None = None
) -> Tensor:
    """factor [T] ⊙ product [T, h] in `dtype`, anew. make: fills product, once all is cut (see `_add_in_parts_`)."""
    wide = torch.empty(product.shape, dtype=dtype, device=product.device)
    rows = block_rows(product.shape[0], product.shape[1], product.device, CPU_BLOCK)
    blocks = zip(wide.split(rows), product.split(rows), _split(factor, rows), strict=False)
    if make is not None:
        make()
    for to, part, by in blocks:
        to.copy_(part)
        if by is not None:
            to.mul_(by)
    return wide


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
    _add_(sum_, product, scratch, factor)


def add_transposed_product_(
    sum_: Tensor, columns: Tensor, x: Tensor, scratch: Scratch, factor: Tensor | None = None
) -> None:
    """sum_ [C, h] += columnsᵀ [C, T] @ (factor [T] ⊙ x [T, h]), the gradient of a tile's weight rows."""
    if sum_.dtype == columns.dtype:
        sum_.addmm_(columns.t(), x if factor is None else kernels_for(x).scaled(x, factor, scratch))
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
    if columns.device.type == "cuda" and largest is None and adds_to_wide(columns.dtype, columns.device):
        torch.addmm(sum_, columns.t(), scaled, out_dtype=sum_.dtype, out=sum_)
        return
    if columns.device.type == "cuda":
        for first in range(0, len(sum_), DEVICE_ROWS):
            part = slice(first, first + DEVICE_ROWS)
            product = torch.mm(columns[:, part].t(), scaled, out_dtype=sum_.dtype)
            _add_(sum_[part], product, scratch, largest)
        return
    _add_in_parts_(sum_, columns.t(), scaled, scratch)


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


def _add_in_parts_(sum_: Tensor, left: Tensor, right: Tensor, scratch: Scratch) -> None:
    """sum_ [C, h] += left [C, T] @ right [T, h] on a CPU. All is cut before the first product, since after each the cache is cold
    and whatever Python does slow."""
    tokens, hidden = right.shape
    # As many rows as stay in the cache, or half as many as `right` has, which is arranged anew for each part.
    cached = max(CPU_BLOCK // hidden, tokens // 2)
    height = min(part_rows(len(sum_), tokens, hidden), -(-cached // 32) * 32)
    blocks = -(-height * hidden // CPU_BLOCK)  # of a part, each widened on its way into the sum
    rows = -(-height // blocks)
    height = blocks * rows
    sums = sum_.split(rows)
    scratch.drop("block")  # torch makes a block of its own, of two dtypes' sum
    product = _place("part", height, hidden, right, scratch)
    narrow = product.split(rows)
    for index, part in enumerate(left.split(height)):
        torch.mm(part, right, out=product if len(part) == height else product[: len(part)])
        for to, block in zip(sums[index * blocks :][:blocks], narrow, strict=False):
            to.add_(block if len(to) == rows else block[: len(to)])


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


def _add_(sum_: Tensor, product: Tensor, scratch: Scratch, factor: Tensor | None = None) -> None:
    """sum_ += factor ⊙ product; factor: of each row, or one number. torch's own sum of two dtypes would make a wide copy of the
    whole product."""
    rows = block_rows(product.shape[0], product.shape[1], product.device)
    for to, part, by in zip(sum_.split(rows), product.split(rows), _split(factor, rows), strict=False):
        wide = _wide(part, sum_.dtype, scratch)
        if by is None:
            to.add_(wide)
        else:
            to.addcmul_(wide, by)


def _split(factor: Tensor | None, rows: int) -> Iterable[Tensor | None]:
    """For each block of so many rows."""
    return repeat(factor) if factor is None or not factor.dim() else factor.unsqueeze(1).split(rows)


def _wide(narrow: Tensor, dtype: torch.dtype, scratch: Scratch) -> Tensor:
    return narrow if narrow.dtype == dtype else scratch.copy(narrow, dtype)


def _place(name: str, rows: int, columns: int, like: Tensor, scratch: Scratch) -> Tensor:
    return scratch.take(name, rows, columns, like.dtype, like.device)
