"""Matrix products in the model's dtype, added to sums in fp32 (fp64 for an fp64 model)."""

import torch
from torch import Tensor


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b for a sum in fp32. On a GPU a product of 16-bit matrices is not rounded to 16 bit first."""
    if a.dtype in (torch.float32, torch.float64) or a.device.type != "cuda":
        return torch.mm(a, b)
    return torch.mm(a, b, out_dtype=torch.float32)


def add_product_(sum_: Tensor, exps: Tensor, weight: Tensor, factor: Tensor | None = None) -> None:
    """sum_ [T, h] += factor [T] ⊙ (exps [T, C] @ weight [C, h])."""
    if factor is not None:
        sum_.addcmul_(wide_product(exps, weight).to(sum_.dtype), factor.unsqueeze(1))
    elif sum_.dtype == exps.dtype:
        sum_.addmm_(exps, weight)
    else:
        sum_.add_(wide_product(exps, weight))


def add_transposed_product_(sum_: Tensor, exps: Tensor, x: Tensor, factor: Tensor) -> None:
    """sum_ [C, h] += expsᵀ [C, T] @ (factor [T] ⊙ x [T, h]), the gradient of a tile's weight rows."""
    if sum_.dtype == exps.dtype:
        sum_.addmm_(exps.t(), x * factor.unsqueeze(1))
    elif exps.dtype == torch.float16:
        # fp16 has no room for small factors: they enter relative to the largest, which joins the sum in fp32.
        largest = factor.abs().amax().clamp(min=torch.finfo(factor.dtype).tiny)
        scaled = (x * (factor / largest).unsqueeze(1)).to(x.dtype)
        sum_.addcmul_(wide_product(exps.t(), scaled).to(sum_.dtype), largest)
    else:
        sum_.add_(wide_product(exps.t(), (x * factor.unsqueeze(1)).to(x.dtype)))
