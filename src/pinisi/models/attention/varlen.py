"""Attends through torch's attention for rows of variable length (FlashAttention, arXiv 2307.08691): for GPUs, in half precision."""

from __future__ import annotations

import inspect
import warnings
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


# Of the trial: what 16 bit leaves of attention over some dozens of tokens, in a forward and a backward.
_TRIAL_ERROR = 0.05


@cache
def varlen_fault(dtype: torch.dtype, device: torch.device) -> str | None:
    """Tries the kernel once on this device, with two documents, a window and grouped heads; returns what is wrong, or None.

    Forward and gradients are held against attention written out in float32, so that a kernel that fails or errs here is not taken.
    It warns once where something is wrong.
    """
    try:
        error = _trial_error(dtype, device)
        reason = None if error <= _TRIAL_ERROR else f"it is {error:.2g} off on {device}"
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AssertionError) as found:
        reason = f"it fails on {device} ({type(found).__name__}: {str(found).splitlines()[0] if str(found) else ''})"
    if reason is not None:
        warnings.warn(f"attention inside packed documents stays dense: of varlen, {reason}", stacklevel=2)
    return reason


def _trial_error(dtype: torch.dtype, device: torch.device) -> float:
    """The largest difference of outputs and gradients from plain attention."""
    lengths, window, groups, heads, width = (19, 45), 16, 2, 4, 64
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, heads, 64, width), (1, groups, 64, width), (1, groups, 64, width))
    given = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    weights = torch.randn(1, 64, heads, width, generator=generator)
    inputs = [x.clone().to(device).requires_grad_() for x in given]
    prepared = variable_lengths(DocumentBounds((lengths,)), window, device)
    query, *others = inputs
    output = attend_variable(query, others[0], others[1], prepared, width**-0.5, None)
    (output.float() * weights.to(device)).sum().backward()
    plain = [x.detach().float().requires_grad_() for x in given]
    number, place = torch.arange(64) >= lengths[0], torch.arange(64)
    distance = place[:, None] - place[None, :]
    seen = (number[:, None] == number[None, :]) & (distance >= 0) & (distance < window)
    key, value = (x.repeat_interleave(heads // groups, 1) for x in plain[1:])
    scores = (plain[0] @ key.transpose(2, 3) * width**-0.5).masked_fill(~seen, float("-inf"))
    wanted = (scores.softmax(-1) @ value).transpose(1, 2)
    (wanted * weights).sum().backward()
    pairs = [(output, wanted), *((x.grad, y.grad) for x, y in zip(inputs, plain, strict=True))]
    errors = []
    for one, two in pairs:
        assert one is not None and two is not None
        found, right = one.detach().float().cpu(), two.detach()
        errors.append(float((found - right).abs().max() / right.abs().max()))
    return max(errors)


@cache
def _kernel() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
