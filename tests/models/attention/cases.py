"""Backends as a CPU can try them: blocks as it is, flex in its plain form, varlen with a kernel that does what torch's says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention as torch_flex

from pinisi.models.attention import BACKENDS, blocks, varlen


def plain_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """torch.nn.attention.varlen.varlen_attn as its documentation and FlashAttention's have it: [tokens, heads, d]; a query sees
    `left` keys before its own place and `right` behind it, -1 for all."""
    left, right = window_size
    edges = cu_seq_q.tolist()
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and edges == cu_seq_k.tolist()
    assert max_q == max_k == max(b - a for a, b in pairwise(edges))
    assert edges[-1] == len(query) == len(key)
    found = []
    for begin, end in pairwise(edges):
        q, k, v = (x[begin:end].transpose(0, 1) for x in (query, key, value))
        if enable_gqa:
            k, v = (x.repeat_interleave(len(q) // len(x), 0) for x in (k, v))
        place = torch.arange(end - begin)
        seen = torch.ones(end - begin, end - begin, dtype=torch.bool)
        if left >= 0:
            seen &= place[None, :] >= place[:, None] - left
        if right >= 0:
            seen &= place[None, :] <= place[:, None] + right
        scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, float("-inf"))
        found.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(found)


def on_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch, *, tile: int = 8) -> None:
    """Lets a backend run here, in any dtype; tiles so small that a short document has several."""
    row = replace(BACKENDS[name], devices=None, dtypes=None, missing=lambda: None)
    monkeypatch.setitem(BACKENDS, name, row)
    monkeypatch.setattr(varlen, "_kernel", lambda: plain_varlen)
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)  # it refuses gradients on a CPU
    monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)  # seconds a case
    monkeypatch.setattr(blocks, "SMALLEST_TILE", tile)
    monkeypatch.setattr(blocks, "LARGEST_TILE", 2 * tile)
