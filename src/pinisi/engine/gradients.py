"""Keeps gradients in buffers, and puts weight gradients off to pass W.

Every parameter has one gradient buffer for the whole run: fp32 for 16-bit and fp32 parameters, fp64 for fp64 ones, so
that the sum over microbatches is never rounded to 16 bit.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


def gradient_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def attach_buffer(parameter: nn.Parameter) -> torch.Tensor:
    """Gives a parameter its buffer (zeros); autograd adds into it during each backward. Returns the buffer."""
    buffer = torch.zeros_like(parameter, dtype=gradient_dtype(parameter.dtype))
    if buffer.dtype == parameter.dtype:
        parameter.grad = buffer  # autograd adds in place
    else:

        def add(p: torch.Tensor) -> None:
            if p.grad is None:  # autograd calls this for a weight, too, whose gradient is put off to W
                return
            buffer.add_(p.grad)
            p.grad = None

        parameter.register_post_accumulate_grad_hook(add)
    return buffer


def no_buffer(tensor: torch.Tensor) -> torch.Tensor:
    """In place of the buffer of what isn't trained: its shape, no memory, and nothing can be added to it."""
    zero = torch.zeros((), dtype=gradient_dtype(tensor.dtype), device=tensor.device)
    return zero.expand(tensor.shape)


class WeightGradients:
    """Collects, during a B, what the matching W needs: per linear layer its input and its output's gradient."""

    def __init__(self) -> None:
        self._open: list | None = None
        self._kept: dict[object, list] = {}

    def collect(self, key: object) -> None:
        """What follows belongs to the W named `key`."""
        self._open = self._kept.setdefault(key, [])

    def stop(self) -> None:
        self._open = None

    def put(self, weight: nn.Parameter, bias: nn.Parameter | None, x: torch.Tensor, dy: torch.Tensor) -> bool:
        """False outside of `collect`: the weight's gradient is then due at once (a BW)."""
        if self._open is None:
            return False
        self._open.append((weight, bias, x, dy))
        return True

    def run(self, key: object, buffers: dict[nn.Parameter, torch.Tensor]) -> None:
        """W: adds every collected gradient into its buffer and lets go of the tensors."""
        for weight, bias, x, dy in self._kept.pop(key):
            add_linear_gradient(weight, bias, x, dy, buffers)


def add_linear_gradient(
    weight: nn.Parameter,
    bias: nn.Parameter | None,
    x: torch.Tensor,
    dy: torch.Tensor,
    buffers: dict[nn.Parameter, torch.Tensor],
) -> None:
    """dW += dyᵀ x and db += Σ dy, with x [..., in] and dy [..., out]."""
    x = x.reshape(-1, x.shape[-1])
    dy = dy.reshape(-1, dy.shape[-1])
    if weight.requires_grad:
        buffer = buffers[weight]
        if buffer.dtype == dy.dtype:
            buffer.addmm_(dy.T, x)
        else:
            buffer.add_(dy.T @ x)
    if bias is not None and bias.requires_grad:
        buffers[bias].add_(dy.sum(0, dtype=buffers[bias].dtype))


class _DeferredLinear(torch.autograd.Function):
    """y = x Wᵀ + b whose backward gives dx at once and leaves dW and db to a later W."""

    @staticmethod
    def forward(ctx, x, weight, bias, later):
        ctx.save_for_backward(x)
        # the parameters themselves: saved tensors come back as other objects under activation checkpointing
        ctx.weight, ctx.bias, ctx.later = weight, bias, later
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        (x,), weight = ctx.saved_tensors, ctx.weight
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        if ctx.later.put(weight, ctx.bias, x, dy):
            return dx, None, None, None
        dw = dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1]) if ctx.needs_input_grad[1] else None
        db = dy.reshape(-1, dy.shape[-1]).sum(0) if ctx.needs_input_grad[2] else None
        return dx, dw, db, None


def _deferred(layer: nn.Linear, later: WeightGradients, x: torch.Tensor) -> torch.Tensor:
    return _DeferredLinear.apply(x, layer.weight, layer.bias, later)


def defer_weight_gradients(module: nn.Module, later: WeightGradients) -> None:
    """Makes every nn.Linear of `module` that is trained leave its weight gradient to a W. Other parameters (norms) are small:
    their gradients stay in B."""
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.requires_grad:
            layer.forward = partial(_deferred, layer, later)  # type: ignore[method-assign]
