"""Attends inside each document by itself, through torch's scaled_dot_product_attention: for CPUs, on any device.

A document is one causal block. Where a window ends before the document does, or scores are soft-capped, its queries are taken
in tiles, each with the keys that it can see. Nothing of the size of a row's square is made.

Shape letters: b rows, H heads of queries, G heads of keys and values, s positions, d head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pinisi.models.attention.bounds import DocumentBounds

# Queries of a tile: a window's keys beside few queries are mostly the same keys again, beside many mostly masked.
SMALLEST_TILE, LARGEST_TILE = 128, 512


@dataclass(frozen=True)
class DocumentBlocks:
    """Holds a microbatch's bounds for one window, and the small masks of tiles, which layers share."""

    lengths: tuple[tuple[int, ...], ...]
    window: int | None
    device: torch.device
    masks: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)

    def mask(self, before: int, queries: int, keys: int) -> Tensor:
        """Returns [queries, keys]: what a tile's queries see of keys that begin `before` places before them."""
        made = self.masks.get((before, queries, keys))
        if made is None:
            query = torch.arange(before, before + queries, device=self.device)[:, None]
            key = torch.arange(keys, device=self.device)[None, :]
            made = key <= query
            if self.window is not None:
                made &= key > query - self.window
            self.masks[before, queries, keys] = made
        return made


def document_blocks(bounds: DocumentBounds, window: int | None, device: torch.device) -> DocumentBlocks:
    """Prepares a microbatch's blocks once for all layers with this window."""
    return DocumentBlocks(bounds.lengths, window, device)


def attend_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, blocks: DocumentBlocks, scale: float, soft_cap: float | None
) -> Tensor:
    """Returns [b,s,H,d] of query [b,H,s,d], key and value [b,G,s,d]."""
    rows = []
    for lengths, *row in zip(blocks.lengths, *(x.split(1) for x in (query, key, value)), strict=True):
        # split's backward joins gradients; that of a slice would fill a whole row with zeros for each document
        documents = zip(*(x.split(lengths, 2) for x in row), strict=True)
        found = [_document(q, k, v, blocks, scale, soft_cap).transpose(1, 2) for q, k, v in documents]
        rows.append(torch.cat(found, 1) if len(found) > 1 else found[0])
    return torch.cat(rows) if len(rows) > 1 else rows[0]


def _document(
    query: Tensor, key: Tensor, value: Tensor, blocks: DocumentBlocks, scale: float, soft_cap: float | None
) -> Tensor:
    """[1,H,l,d] of one document's [1,H,l,d] and [1,G,l,d]."""
    length = query.shape[2]
    window = blocks.window if blocks.window is not None and blocks.window < length else None
    if window is None and soft_cap is None:
        return _fused(query, key, value, None, scale)
    tile = LARGEST_TILE if window is None else max(SMALLEST_TILE, min(window, LARGEST_TILE))
    queries, keys, values = (x.split(tile, 2) for x in (query, key, value))
    found = []
    for i, part in enumerate(queries):
        begin = i * tile
        first = 0 if window is None else max(0, begin - (window - 1))
        seen_keys, seen_values = (_joined(x, first, i, tile) for x in (keys, values))
        mask = blocks.mask(begin - first, part.shape[2], seen_keys.shape[2])
        if soft_cap is None:
            found.append(_fused(part, seen_keys, seen_values, mask, scale))
        else:
            # computed again in backward: the scores of a document are never kept
            found.append(
                checkpoint(
                    _capped,
                    part,
                    seen_keys,
                    seen_values,
                    mask,
                    scale,
                    soft_cap,
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            )
    return torch.cat(found, 2) if len(found) > 1 else found[0]


def _joined(tiles: tuple[Tensor, ...], first: int, last_tile: int, tile: int) -> Tensor:
    """Places from `first` to the end of tile `last_tile`."""
    first_tile = first // tile
    head = tiles[first_tile][:, :, first - first_tile * tile :]
    return torch.cat([head, *tiles[first_tile + 1 : last_tile + 1]], 2) if last_tile > first_tile else head


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Plain causal without a mask."""
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float, soft_cap: float) -> Tensor:
    """As transformers' eager form has it: the softmax in float32 at least."""
    heads, groups = query.shape[1], key.shape[1]
    grouped = query.unflatten(1, (groups, heads // groups))
    scores = torch.matmul(grouped, key[:, :, None].transpose(-1, -2)) * scale
    scores = torch.tanh(scores / soft_cap) * soft_cap
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    weights = F.softmax(scores, dim=-1, dtype=wide).to(query.dtype)
    return torch.matmul(weights, value[:, :, None]).flatten(1, 2)
