"""Matrix products in the model's dtype, added to sums in fp32 (fp64 for an fp64 model).

On a CPU torch makes 16-bit products in 16 bit only; they are made in parts that stay in the cache and join the sum there.
"""

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import CPU_BLOCK, Scratch, blocks

NARROWEST = 256  # rows of such a part at least, or the product itself gets slow


def add_product_(
    sum_: Tensor, columns: Tensor, weight: Tensor, scratch: Scratch, factor: Tensor | None = None
) -> None:
    """sum_ [T, h] += factor [T] ⊙ (columns [T, C] @ weight [C, h])."""
    if sum_.dtype == columns.dtype and factor is None:
        sum_.addmm_(columns, weight)
        return
    if columns.device.type == "cuda" and sum_.dtype != columns.dtype:
        product = torch.mm(columns, weight, out_dtype=sum_.dtype)
    else:
        product = torch.mm(columns, weight, out=_place("hidden", *sum_.shape, columns, scratch))
    _add_(sum_, product, scratch, factor)


def add_transposed_product_(
    sum_: Tensor, columns: Tensor, x: Tensor, scratch: Scratch, factor: Tensor | None = None
) -> None:
    """sum_ [C, h] += columnsᵀ [C, T] @ (factor [T] ⊙ x [T, h]), the gradient of a tile's weight rows."""
    if sum_.dtype == columns.dtype:
        sum_.addmm_(columns.t(), x if factor is None else _scaled(x, factor, scratch))
        return
    largest = None
    if columns.dtype == torch.float16 and factor is not None:
        # fp16 has no room for small factors: they enter relative to the largest, which joins the sum in fp32.
        largest = factor.abs().amax().clamp(min=torch.finfo(factor.dtype).tiny)
        factor = factor / largest
    scaled = x if factor is None else _scaled(x, factor, scratch)
    if columns.device.type == "cuda":
        _add_(sum_, torch.mm(columns.t(), scaled, out_dtype=sum_.dtype), scratch, largest)
        return
    height = max(NARROWEST, min(CPU_BLOCK // x.shape[1], len(sum_) // 8) // 64 * 64)
    for first in range(0, len(sum_), height):
        part = slice(first, min(first + height, len(sum_)))
        product = _place("part", part.stop - part.start, x.shape[1], columns, scratch)
        torch.mm(columns[:, part].t(), scaled, out=product)
        _add_(sum_[part], product, scratch, largest)


def add_weighted_rows_(sum_: Tensor, columns: Tensor, scratch: Scratch, factor: Tensor | None) -> None:
    """sum_ [C] += Σ_t factor[t]·columns[t], the gradient of a tile's bias."""
    ones = sum_.new_ones(()).expand(len(columns)) if factor is None else factor
    for part in blocks(*columns.shape, columns.device):
        sum_.addmv_(_wide(columns[part], sum_.dtype, scratch).t(), ones[part])


def _add_(sum_: Tensor, product: Tensor, scratch: Scratch, factor: Tensor | None = None) -> None:
    """sum_ += factor ⊙ product; factor: of each row, or one number. torch's own sum of two dtypes would make a wide copy of
    the whole product."""
    for part in blocks(*product.shape, product.device):
        wide = _wide(product[part], sum_.dtype, scratch)
        if factor is None:
            sum_[part].add_(wide)
        else:
            sum_[part].addcmul_(wide, factor[part].unsqueeze(1) if factor.dim() else factor)


def _scaled(x: Tensor, factor: Tensor, scratch: Scratch) -> Tensor:
    """factor [T] ⊙ x [T, h], rounded to x's dtype once."""
    out = _place("hidden", *x.shape, x, scratch)
    if x.dtype == factor.dtype:
        return torch.mul(x, factor.unsqueeze(1), out=out)
    for part in blocks(*x.shape, x.device):
        out[part] = scratch.copy(x[part], factor.dtype).mul_(factor[part].unsqueeze(1))
    return out


def _wide(narrow: Tensor, dtype: torch.dtype, scratch: Scratch) -> Tensor:
    return narrow if narrow.dtype == dtype else scratch.copy(narrow, dtype)


def _place(name: str, rows: int, columns: int, like: Tensor, scratch: Scratch) -> Tensor:
    return scratch.take(name, rows, columns, like.dtype, like.device)
