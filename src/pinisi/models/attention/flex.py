"""Attends through torch's flex_attention with a block mask made of the documents' bounds: for GPUs.

Source: Dong et al., arXiv 2412.05496. The block mask is made on the host from the bounds: [s / 128, s / 128] numbers, never [s, s].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from pinisi.models.attention.bounds import DocumentBounds

BLOCK = 128  # places of a block's side, as flex_attention's kernels have it by default


def document_block_mask(bounds: DocumentBounds, window: int | None, device: torch.device) -> Any:
    """Returns flex_attention's BlockMask for a microbatch: what a token sees is one stretch of its row that ends with itself."""
    from torch.nn.attention.flex_attention import BlockMask

    first = bounds.first_seen(window)  # [b, s], rising along a row
    size, rows = bounds.sequence, len(bounds.lengths)
    count = -(-size // BLOCK)
    block = torch.arange(count)
    begin, last = block * BLOCK, ((block + 1) * BLOCK).clamp(max=size) - 1
    lowest, highest = first[:, begin] // BLOCK, first[:, last]  # [b, blocks of queries]
    key = block[None, None, :]
    needed = (key >= lowest[..., None]) & (key <= block[None, :, None])
    # the whole block of keys is seen by the last of the queries, and stands before the first of them
    full = (
        needed & ((block + 1) * BLOCK <= size)[None, :, None]
    )  # torch counts no short block of queries as full
    full &= (key * BLOCK >= highest[..., None]) & (key < block[None, :, None])
    seen_from = first.to(device)

    def visible(row: Tensor, head: Tensor, query: Tensor, place: Tensor) -> Tensor:
        return (place <= query) & (place >= seen_from[row, query])

    partial, whole = (_listed(x, rows, count, device) for x in (needed & ~full, full))
    return BlockMask.from_kv_blocks(
        *partial, *whole, BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(size, size)
    )


def _listed(chosen: Tensor, rows: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """How many blocks of keys are chosen [b,1,blocks], and their numbers before the others [b,1,blocks,blocks]."""
    order = torch.argsort(chosen.int(), dim=-1, descending=True, stable=True)
    return tuple(x.int()[:, None].contiguous().to(device) for x in (chosen.sum(-1), order))  # type: ignore[return-value]


def attend_flexibly(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float, soft_cap: float | None
) -> Tensor:
    """Returns [b,s,H,d] of query [b,H,s,d], key and value [b,G,s,d]."""

    def capped(score: Tensor, row: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        assert soft_cap is not None
        return torch.tanh(score / soft_cap) * soft_cap

    found = _kernel(query.device.type)(
        query,
        key,
        value,
        score_mod=None if soft_cap is None else capped,
        block_mask=mask,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found.transpose(1, 2).contiguous()


@cache
def _kernel(device: str) -> Any:
    """Compiled on a GPU; a CPU has the plain form, which makes all scores, for tests."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if device == "cuda" else flex_attention
