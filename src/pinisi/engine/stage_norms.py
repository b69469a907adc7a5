"""Takes a gradient's norm apart by stage, which shows where in a model something goes wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pinisi.models import ModelSpec

ENDS = "ends"  # embedding, head, final norm and extra heads


class StageNorms:
    """Knows which stage each tensor belongs to, by its name; whatever is no layer's belongs to the ends.

    layers: of each stage.
    """

    def __init__(self, spec: ModelSpec, layers: Sequence[range], device: torch.device):
        self.prefix, self.device, self.stages = f"{spec.architecture.layers_name}.", device, len(layers)
        self._stage_of = {layer: stage for stage, held in enumerate(layers) for layer in held}
        self._places: dict[tuple[str, ...], torch.Tensor] = {}

    def __call__(self, squares: Sequence[tuple[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the sum of this rank's squares, and by stage, the ends last, [stages + 1]; fp64, nobody waits for the device."""
        by_stage = torch.zeros(self.stages + 1, dtype=torch.float64, device=self.device)
        if not squares:
            return torch.zeros((), dtype=torch.float64, device=self.device), by_stage
        names, values = tuple(name for name, _ in squares), torch.stack([value for _, value in squares])
        if names not in self._places:
            self._places[names] = torch.tensor([self._place(name) for name in names], device=self.device)
        return values.sum(), by_stage.index_add_(0, self._places[names], values)

    def named(self, squares: Sequence[float]) -> dict[str, float]:
        """Returns norms by name, of squares that were summed over the ranks."""
        names = [*(f"stage {stage}" for stage in range(self.stages)), ENDS]
        return {name: math.sqrt(max(0.0, square)) for name, square in zip(names, squares, strict=True)}

    def _place(self, name: str) -> int:
        if not name.startswith(self.prefix):
            return self.stages
        layer = int(name.removeprefix(self.prefix).partition(".")[0])
        return self._stage_of[layer]
