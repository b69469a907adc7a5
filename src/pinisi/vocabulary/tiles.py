"""Computes logits from products by a model's scale and soft cap, and says how many columns a tile has."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError

CPU_COLUMNS = 8192
DEVICE_COLUMNS = 32768  # wide tiles: fewer sums of [T, h], and full matrix products


@dataclass(frozen=True)
class Curve:
    """l as a function of z: scale·z, then cap·tanh(·/cap) where there is a soft-cap."""

    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        if self.softcap is not None and not 0 < self.softcap < math.inf:
            raise ConfigError(
                f"A soft-cap bounds logits by a positive number, got {self.softcap}; None is for no bound."
            )
        if not math.isfinite(self.scale):
            raise ConfigError(f"Logits are multiplied by a finite number, got a scale of {self.scale}.")

    @property
    def is_identity(self) -> bool:
        return self.scale == 1.0 and self.softcap is None

    def logits_(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """z, overwritten by l; and dl/dz without the factor `scale`, None where it is 1 everywhere."""
        if self.scale != 1.0:
            z.mul_(self.scale)
        if self.softcap is None:
            return z, None
        z.div_(self.softcap).tanh_()
        slope = torch.addcmul(z.new_ones(()), z, z, value=-1)
        return z.mul_(self.softcap), slope


def tile_bounds(rows: int, device: torch.device, widest: int | None = None) -> list[tuple[int, int]]:
    """Even tiles of a shard's rows, in multiples of 64 but for the last."""
    widest = widest or (CPU_COLUMNS if device.type == "cpu" else DEVICE_COLUMNS)
    tiles = max(1, -(-rows // widest))
    width = -(-rows // (64 * tiles)) * 64
    return [(start, min(start + width, rows)) for start in range(0, rows, width)] if rows else []
