"""Holds the rows of a head and says how logits are computed from them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.vocabulary.tiles import Curve


@dataclass(frozen=True)
class Projection:
    """Holds rows of a head: weight [V_r, h], bias [V_r] or None, and the curve from z to l."""

    weight: Tensor
    bias: Tensor | None
    curve: Curve

    def logits_(self, out: Tensor, x: Tensor, start: int, stop: int) -> Tensor:
        """z [T, C] of the rows start to stop, before the curve."""
        rows = self.weight[start:stop].t()
        if self.bias is None:
            return torch.mm(x, rows, out=out)
        return torch.addmm(self.bias[start:stop], x, rows, out=out)
