"""Makes the mask of one attention type for all pairs of a row's tokens: the reference that every backend must equal."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_mask(documents: Tensor, window: int | None, dtype: torch.dtype, *, additive: bool) -> Tensor:
    """Returns [b,1,s,s]: true where a token sees another, or, additive, 0 there and the dtype's least number elsewhere.

    documents: [b,s], on the device of the model. window: how many places of its row a token sees, itself included.
    """
    place = torch.arange(documents.shape[1], device=documents.device)
    seen = place[:, None] >= place[None, :]
    if window is not None:
        seen &= place[None, :] > place[:, None] - window
    allowed = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    if not additive:
        return allowed
    return torch.zeros((), dtype=dtype, device=documents.device).where(allowed, torch.finfo(dtype).min)
