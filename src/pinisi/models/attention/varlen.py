"""Attends through torch's attention for rows of variable length (FlashAttention, arXiv 2307.08691): for GPUs, in half precision."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pinisi.models.attention.bounds import DocumentBounds


class VariableLengths(NamedTuple):
    """Holds cu_seqlens on the device, the longest document, and the window."""

    cumulative: Tensor
    longest: int
    window: int | None


def variable_lengths(bounds: DocumentBounds, window: int | None, device: torch.device) -> VariableLengths:
    """Prepares a microbatch's bounds once for all layers with this window."""
    cumulative = torch.tensor(bounds.cumulative, dtype=torch.int32).to(device, non_blocking=True)
    return VariableLengths(cumulative, bounds.longest, window)


def varlen_missing() -> str | None:
    """Returns what torch lacks for this backend, or None."""
    try:
        parameters = inspect.signature(_kernel()).parameters
    except ImportError:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    return (
        None
        if "window_size" in parameters
        else f"torch {torch.__version__}'s varlen_attn takes no window_size"
    )


def attend_variable(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: VariableLengths,
    scale: float,
    soft_cap: float | None,
) -> Tensor:
    """Returns [b,s,H,d] of query [b,H,s,d], key and value [b,G,s,d]."""
    assert soft_cap is None
    b, heads, s, _ = query.shape
    kernel, repeats = _kernel(), heads // key.shape[1]
    more: dict[str, Any] = {}
    if repeats > 1 and "enable_gqa" in inspect.signature(kernel).parameters:
        more["enable_gqa"] = True
    elif repeats > 1:
        key, value = (x.repeat_interleave(repeats, 1) for x in (key, value))
    joined = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    # the kernel counts places before the query, transformers the query itself as well
    left = -1 if lengths.window is None else lengths.window - 1
    found = kernel(
        *joined,
        lengths.cumulative,
        lengths.cumulative,
        lengths.longest,
        lengths.longest,
        scale=scale,
        window_size=(left, 0),
        **more,
    )
    return found.unflatten(0, (b, s))


@cache
def _kernel() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
