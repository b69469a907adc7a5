"""Compiles decoder layers with torch.compile, and puts weight gradients off outside of the compiled graph.

Where a schedule has B and W apart, no gradient of a linear layer's weight is in the graph. Each linear layer adds a zero, its
tap, whose gradient is that of the layer's output, and hands its input out of the graph: the two that a later W needs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinisi.base.errors import ConfigError
from pinisi.engine.gradients import WeightGradients
from pinisi.models import ModelSpec
from pinisi.models.attention.backends import BACKENDS, AttentionBackend
from pinisi.models.attention.interface import PackedRows
from pinisi.models.context import Context
from pinisi.models.stage import BoundLayer, LayerCall


class _Tapped:
    """Holds what a layer's linear layers add and hand out while one call of it is at work; taps: None without gradients."""

    def __init__(self) -> None:
        self.taps: tuple[Tensor, ...] | None = None
        self.inputs: list[Tensor | None] = []


def _tapped_linear(layer: nn.Linear, held: _Tapped, number: int, x: Tensor) -> Tensor:
    if held.taps is None:
        return F.linear(x, layer.weight, layer.bias)
    held.inputs[number] = x.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    return F.linear(x, layer.weight.detach(), bias) + held.taps[number]


class _Call:
    """Joins both ends of one call: the linear layers, where their gradients go, and in the backward pass their inputs."""

    def __init__(self, linears: list[nn.Linear], later: WeightGradients):
        self.linears, self.later = linears, later
        self.inputs: tuple[Tensor, ...] = ()


class _Taps(torch.autograd.Function):
    """Makes the taps before the graph: zeros without memory, whose gradients are those of the linear layers' outputs."""

    @staticmethod
    def forward(ctx: Any, call: _Call, shape: torch.Size, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        return tuple(
            linear.weight.new_zeros(()).expand(*shape, linear.out_features) for linear in call.linears
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call, found = ctx.call, []
        for linear, x, dy in zip(call.linears, call.inputs, gradients, strict=True):
            late = call.later.put(linear.weight, linear.bias, x, dy)
            rows = dy.reshape(-1, dy.shape[-1])
            found.append(None if late else rows.T @ x.reshape(-1, x.shape[-1]))
            if linear.bias is not None:
                found.append(None if late else rows.sum(0))
        call.inputs = ()
        return None, None, *found


class _Keep(torch.autograd.Function):
    """Keeps the linear layers' inputs behind the graph, as autograd keeps what it saves, so that checkpointing knows of them."""

    @staticmethod
    def forward(ctx: Any, call: _Call, found: Tensor, *inputs: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(*inputs)
        return found.view_as(found)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.call.inputs = ctx.saved_tensors  # before the graph's own backward, which ends in `_Taps`
        return None, gradient, *[None] * len(ctx.call.inputs)


class CompiledLayer:
    """Does what a `BoundLayer` does, compiled. later: where weight gradients go in a B; None: all are due at once.

    Raises ConfigError, at the first call, where torch can't compile the layer.
    """

    def __init__(self, layer: BoundLayer, compiler: str, later: WeightGradients | None = None):
        self.layer, self.compiler, self.later = layer, compiler, later
        linears = [m for m in layer.module.modules() if type(m) is nn.Linear and m.weight.requires_grad]
        self.linears = linears if later else []
        self.parameters = [p for m in self.linears for p in (m.weight, m.bias) if p is not None]
        self._held = _Tapped()
        for number, linear in enumerate(self.linears):
            linear.forward = partial(_tapped_linear, linear, self._held, number)  # type: ignore[method-assign]
        self._compiled = torch.compile(self._run, backend=compiler)

    def __call__(self, hidden: Tensor, context: Context) -> Tensor:
        given = hidden, context.masks[self.layer.kind], context.rotary[self.layer.kind], context.positions
        if self.later is None or not torch.is_grad_enabled():
            return self._call(*given, None)[0]
        call = _Call(self.linears, self.later)
        taps = _Taps.apply(call, hidden.shape[:-1], *self.parameters)
        found, inputs = self._call(*given, taps)
        return _Keep.apply(call, found, *inputs)

    def _call(self, hidden: Tensor, mask: Any, *more: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        if isinstance(mask, PackedRows):
            mask = replace(mask, backend=_outside(mask.backend.name))
        try:
            return self._compiled(hidden, mask, *more)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"layer {self.layer.index} can't be compiled by torch's {self.compiler!r} ({first}): set runtime.compile = 'none'"
            ) from error

    def _run(
        self, hidden: Tensor, mask: Any, rotary: Any, positions: Tensor, taps: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is compiled."""
        held = self._held
        held.taps, held.inputs = taps, [None] * len(self.linears)
        found = self.layer.module(
            hidden, attention_mask=mask, position_embeddings=rotary, position_ids=positions
        )
        inputs: Any = tuple(held.inputs) if taps is not None else ()
        held.taps, held.inputs = None, []
        return (found[0] if isinstance(found, tuple) else found), inputs


def compiled_layers(
    layers: Sequence[LayerCall], compiler: str, later: WeightGradients | None
) -> list[LayerCall]:
    """Returns a stage's layers compiled, each by itself."""
    found: list[LayerCall] = []
    for layer in layers:
        assert isinstance(layer, BoundLayer)
        found.append(CompiledLayer(layer, compiler, later))
    return found


@cache
def _outside(name: str) -> AttentionBackend:
    """The attention backend of that name, run outside of compiled graphs: each batch has other bounds of documents."""
    backend = BACKENDS[name]
    assert backend.attend is not None
    return replace(backend, attend=torch.compiler.disable(backend.attend))


def check_compiled(spec: ModelSpec, compiler: str) -> None:
    """Raises ConfigError for a model whose layers aren't compiled, or where this machine lacks what the compiler needs."""
    if spec.dropout:
        raise ConfigError(
            "the model drops numbers in training by seeds of its own, which compiled layers don't have: set runtime.compile = "
            "'none', or its dropout to 0"
        )
    if compiler == "inductor" and (missing := _missing()):
        raise ConfigError(
            f"runtime.compile = 'layers' needs {missing}: install it, or set runtime.compile = 'none', or runtime.compiler = "
            "'aot_eager', which makes no kernels"
        )


def _missing() -> str | None:
    """What torch's inductor needs and this machine lacks."""
    if torch.cuda.is_available():
        return None if find_spec("triton") else "Triton on a GPU, which isn't installed (pip install triton)"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:  # of several kinds
        named = os.environ.get("CXX")
        found = f"CXX = {named} is none" if named else "none was found"
        return f"a C++ compiler on a CPU, and {found} (apt install g++, or set CXX)"
    return None
