"""Gives a model with adapters its parameters: their start beside a base's weights, or both merged into plain weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from pinisi.models.adapters import Adapters, adapter_names, check_targets, is_adapter, linear_names
from pinisi.models.spec import ModelSpec
from pinisi.models.stage import Weights, adapter_shapes, decoder_layer


def with_adapters(
    spec: ModelSpec,
    rank: int,
    *,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Sequence[str] = (),
    rank_stabilised: bool = False,
) -> ModelSpec:
    """Returns the same model, of which adapters alone are trained.

    alpha: twice the rank if left out. targets: the last parts of linear layers' names, such as q_proj; all of the decoder layers'
    if there are none. Raises ConfigError for a name that has no adapter.
    """
    chosen = check_targets(targets, linear_names(decoder_layer(spec)))
    adapters = Adapters(rank, 2.0 * rank if alpha is None else alpha, chosen, dropout, rank_stabilised)
    return replace(spec, adapters=adapters)


class AdaptedWeights:
    """Gives adapters their start, as peft does: A uniform within 1 / √in, drawn from the seed and the name alone, and B zero; and
    all else from a base, which has none."""

    def __init__(self, spec: ModelSpec, base: Weights, seed: int, dtype: torch.dtype = torch.float32):
        self.base, self.seed, self.dtype = base, seed, dtype
        self._shapes = adapter_shapes(spec)

    def names(self) -> list[str]:
        return [*self.base.names(), *self._shapes]

    def get(self, name: str, rows: range | None = None) -> torch.Tensor:
        if not is_adapter(name):
            return self.base.get(name, rows)
        shape = self._shapes[name]
        found = torch.zeros(shape, dtype=self.dtype)
        if ".lora_A." in name:
            digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
            most = 1 / math.sqrt(shape[1])
            found = torch.empty(shape).uniform_(-most, most, generator=generator).to(self.dtype)
        return found if rows is None else found[rows.start : rows.stop]


class MergedWeights:
    """Adds adapters to a base's weights: W + scale · B A, worked out in fp32 or wider and given in the base's dtype.

    read: gives an adapter's tensor by its name.
    """

    def __init__(self, spec: ModelSpec, base: Weights, read: Callable[[str], torch.Tensor]):
        assert spec.adapters is not None, "a model without adapters has nothing to merge"
        self.base, self.scale, self.read = base, spec.adapters.scale, read
        self._shapes = adapter_shapes(spec)

    def names(self) -> list[str]:
        return self.base.names()

    def get(self, name: str, rows: range | None = None) -> torch.Tensor:
        weight, (a, b) = self.base.get(name, rows), adapter_names(name)
        if a not in self._shapes:
            return weight
        down, up = self.read(a), self.read(b)
        wide = torch.promote_types(torch.promote_types(weight.dtype, down.dtype), torch.float32)
        up = up if rows is None else up[rows.start : rows.stop]
        return (weight.to(wide) + self.scale * (up.to(wide) @ down.to(wide))).to(weight.dtype)
