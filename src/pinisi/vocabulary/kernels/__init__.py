"""Hides the element-wise work of S and T behind one interface: `kernels_for(tensor)` answers with an implementation.

Matrix products are torch's in any case. What surrounds them is `reference`, in plain torch operations for any device and
dtype, or passes over memory once: `native`, in C++ for fp32 and bf16 on a CPU, compiled where it is used first, and `fused`,
Triton kernels for fp32 and 16 bit on a GPU. Triton comes with torch where there is a GPU and is imported only when it is used.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses import LogProbs
from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import build
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import Combined
from pinisi.vocabulary.tiles import Curve

__all__ = ["IMPLEMENTATIONS", "Kernels", "Targets", "interpreted", "kernels_for", "rows_without_gaps", "use"]

IMPLEMENTATIONS = {"torch": "reference", "native": "native", "triton": "fused"}
DTYPES = {"native": (torch.float32, torch.bfloat16), "triton": (torch.float32, torch.bfloat16, torch.float16)}
VARIABLE = "PINISI_KERNELS"  # names one of them for a whole process


class Kernels(Protocol):
    """T tokens, h hidden, C columns of a tile, V_r rows of a shard. Vectors are [T] in the statistics' dtype: fp32, or fp64
    for an fp64 model. scratch: working space on a CPU."""

    def exponentiate_(
        self,
        z: Tensor,
        out: Tensor,
        targets: Targets,
        first: int,
        statistics: Tensor,
        floor: Tensor | None,
        curve: Curve,
        scratch: Scratch,
        logit_sum: Tensor | None = None,
        slopes: Tensor | None = None,
    ) -> None:
        """out [T, C], which may be z, = exp(l - maximum)·l'(z)/scale, 0 at the target's column, which counts for nothing. z may be
        overwritten: logits before the curve of the shard's rows first to first + C.

        statistics [2 or more, T], contiguous: the maximum becomes its first row, the exponentials' sum its second. floor: the
        maximum is at least this. Only with a soft-cap: logit_sum, to which Σ l over all columns is added, and
        slopes [T, C], which become l'(z)/scale.
        """
        ...

    def exponentiate_again_(
        self,
        z: Tensor,
        out: Tensor,
        targets: Targets,
        first: int,
        maximum: Tensor,
        curve: Curve,
        scratch: Scratch,
        mix: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """out = the same exponentials from the same z, with a maximum that is known; with mix = (factor, each)
        out = factor ⊙ exponentials + each ⊙ slopes, slopes at y's column too."""
        ...

    def target_logits(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Targets,
        statistics: Tensor,
        curve: Curve,
        scratch: Scratch,
    ) -> Tensor:
        """l_y, which becomes the third row of statistics [3 or more, T], and dl/dz at y, from x [T, h] and the shard's weight
        [V_r, h] with sums in the statistics' dtype; -inf and 0 where y is another rank's or ignored."""
        ...

    def combine(self, gathered: Tensor, targets: Targets) -> tuple[Combined, LogProbs]:
        """The statistics of all ranks, [p, 3 or 4, T], to what U and T read, and what a loss gets; see `combine_statistics` and
        `log_probs`."""
        ...

    def coefficients(
        self,
        targets: Targets,
        combined: Combined,
        statistics: Tensor,
        slope: Tensor,
        scale: float,
        by_log_prob: Tensor,
        by_logsumexp: Tensor | None = None,
        by_logit_sum: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """What a loss' derivatives (see `LossValue`) multiply, 0 at ignored tokens: softmax = by_logsumexp - by_log_prob, which
        multiplies p_v at every column but y; slope·(by_logsumexp·p_y + by_log_prob·(1 - p_y)), of y's column, with slope = dl/dz
        there; scale·by_logit_sum, of every column; and `factor` of the maximum, the first row of statistics."""
        ...

    def factor(self, maximum: Tensor, combined: Combined, softmax: Tensor, scale: float) -> Tensor:
        """scale·p_v·softmax of the logit `maximum`: what turns exponentials above `maximum` into dL/dz."""
        ...

    def added(self, sum_: Tensor | None, product: Tensor, factor: Tensor | None, scratch: Scratch) -> Tensor:
        """sum_ [rows, h] += factor ⊙ product, in place; without sum_ that alone, anew. In the statistics' dtype; the product may
        be in 16 bit. factor: of each row; None: 1."""
        ...

    def finished(
        self,
        product: Tensor,
        weight: Tensor,
        targets: Targets,
        factor: Tensor | None,
        target: Tensor,
        scratch: Scratch,
    ) -> Tensor:
        """factor ⊙ product + target ⊙ W[y], the last where y is this shard's, [T, h] in the statistics' dtype: in place of the
        product if that has it. factor None: 1."""
        ...

    def scaled(self, x: Tensor, factor: Tensor, scratch: Scratch, out: Tensor | None = None) -> Tensor:
        """factor ⊙ x [T, n], multiplied in the statistics' dtype, rounded once to x's; out: where, which may be x."""
        ...

    def add_target_rows_(
        self,
        gradient: Tensor,
        bias_gradient: Tensor | None,
        x: Tensor,
        targets: Targets,
        target: Tensor,
        scratch: Scratch,
    ) -> None:
        """gradient [V_r, h] += target ⊙ x at the rows that are y, bias_gradient [V_r] += target there."""
        ...

    # (gradient, bias_gradient, product, x, targets, target): gradient += product [V_r, h] of x's dtype, and what
    # `add_target_rows_` adds, in one pass; None: there is none, and one after the other is as well.
    add_with_target_rows_: Callable[[Tensor, Tensor | None, Tensor, Tensor, Targets, Tensor], None] | None

    def add_column_sums_(
        self, sums: Tensor, columns: Tensor, factor: Tensor | None, scratch: Scratch
    ) -> None:
        """sums [C] += Σ_t factor[t]·columns[t] of [T, C], in the statistics' dtype; factor None: 1."""
        ...


def rows_without_gaps(of: Tensor | None) -> bool:
    """Whether neighbours in each row lie side by side, as `native` and `fused` take them to."""
    return of is None or of.stride(-1) == 1 or of.shape[-1] <= 1


_chosen: list[str] = []
_named = os.environ.get(VARIABLE) or None


@contextmanager
def use(name: str) -> Iterator[None]:
    """Within it kernels_for answers with this implementation, "torch", "native" or "triton": for tests and benchmarks."""
    _check(name)
    _chosen.append(name)
    try:
        yield
    finally:
        _chosen.pop()


def kernels_for(tensor: Tensor) -> Kernels:
    """The implementation for tensors like this: what `use` or the environment's PINISI_KERNELS names; else Triton's on a GPU where
    it is installed, native ones on a CPU where a compiler is, for the dtypes that they have. Triton's sums into rows that
    several tokens share have no fixed order, so a program that asks torch for deterministic algorithms gets the reference."""
    device = tensor.device.type
    if not _chosen and _named is None:
        return _on_cpu(tensor.dtype) if device == "cpu" else _elsewhere(device, tensor.dtype)
    name = _chosen[-1] if _chosen else str(_named)
    _check(name)
    if tensor.dtype not in DTYPES.get(name, (tensor.dtype,)):
        have = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES[name])
        raise ConfigError(
            f'The kernels "{name}" were chosen ({VARIABLE} may name them), but the model is in '
            f'{str(tensor.dtype).removeprefix("torch.")}, which they do not have: use {have}, or choose "torch".'
        )
    if name == "triton" and device == "cpu" and not interpreted():
        raise ConfigError(
            f'The kernels "triton" were chosen ({VARIABLE} may name them), but the model is on a CPU, for which Triton '
            f'has none: choose "torch", leave {VARIABLE} unset, or set TRITON_INTERPRET=1 to try them out slowly.'
        )
    if name == "native" and device != "cpu":
        raise ConfigError(
            f'The kernels "native" were chosen ({VARIABLE} may name them), but the model is on a GPU and they are for a CPU: '
            f'choose "triton" or leave {VARIABLE} unset.'
        )
    return _implementation(name)


@cache
def _on_cpu(dtype: torch.dtype) -> Kernels:
    fits = dtype in DTYPES["native"] and build.library() is not None
    return _implementation("native" if fits else "torch")


def _elsewhere(device: str, dtype: torch.dtype) -> Kernels:
    fits = device == "cuda" and dtype in DTYPES["triton"] and not torch.are_deterministic_algorithms_enabled()
    return _implementation("triton" if fits and _has_triton() else "torch")


def interpreted() -> bool:
    """Whether Triton runs its kernels on a CPU, one program after the other: what it reads from the environment."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on")


def _check(name: str) -> None:
    if name not in IMPLEMENTATIONS:
        *most, last = IMPLEMENTATIONS
        raise ConfigError(
            f'Kernels are {", ".join(most)} or {last}, got "{name}"; name one of these, in {VARIABLE} too.'
        )
    if name == "triton" and not _has_triton():
        raise ConfigError(
            'The kernels "triton" were chosen, but Triton is not installed; run pip install "pinisi[triton]" or '
            'choose "torch".'
        )
    if name == "native":
        build.load()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def _implementation(name: str) -> Kernels:
    return cast(Kernels, import_module(f"{__name__}.{IMPLEMENTATIONS[name]}"))
