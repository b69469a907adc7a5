"""Element-wise work on [T, C] tiles of the logits, in blocks that stay in the cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.vocabulary.statistics import statistics_dtype

CPU_COLUMNS = 2048
DEVICE_COLUMNS = 8192
CPU_BLOCK = 2**17  # elements of one element-wise block: 0.5 MiB in fp32


@dataclass(frozen=True)
class Curve:
    """l as a function of z: scale·z, then cap·tanh(·/cap) where there is a soft-cap."""

    scale: float = 1.0
    softcap: float | None = None

    def logits_(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """z, overwritten by l; and dl/dz without the factor `scale`, None where it is 1 everywhere."""
        if self.scale != 1.0:
            z.mul_(self.scale)
        if self.softcap is None:
            return z, None
        z.div_(self.softcap).tanh_()
        slope = torch.addcmul(z.new_ones(()), z, z, value=-1)
        return z.mul_(self.softcap), slope


@dataclass
class Tile:
    """Columns start to stop of a shard: exps [T, C] = exp(l - maximum)·l'(z)/scale, 0 at the target's column."""

    start: int
    stop: int
    exps: Tensor
    maximum: Tensor


def tile_bounds(rows: int, device: torch.device) -> list[tuple[int, int]]:
    """Even tiles of a shard's rows, in multiples of 64 but for the last."""
    widest = CPU_COLUMNS if device.type == "cpu" else DEVICE_COLUMNS
    tiles = max(1, -(-rows // widest))
    width = -(-rows // (64 * tiles)) * 64
    return [(start, min(start + width, rows)) for start in range(0, rows, width)] if rows else []


def exponentiate_(z: Tensor, target: Tensor, floor: Tensor, curve: Curve) -> tuple[Tensor, Tensor]:
    """Turns logits before the curve into exponentials, in place, and returns (maximum [T], sum [T]).

    z [T, C] in the model's dtype becomes exp(l - maximum)·slope. target [T]: the column of y in this tile, or
    any number outside 0..C-1; that column counts for nothing. floor [T]: the maximum over earlier tiles.
    """
    tokens, width = z.shape
    rows = max(1, CPU_BLOCK // width) if z.device.type == "cpu" else max(1, tokens)
    maximum, total = torch.empty_like(floor), torch.empty_like(floor)
    for start in range(0, tokens, rows):
        part = slice(start, start + rows)
        maximum[part], total[part] = _exponentiate_block_(z[part], target[part], floor[part], curve)
    return maximum, total


def _exponentiate_block_(z: Tensor, target: Tensor, floor: Tensor, curve: Curve) -> tuple[Tensor, Tensor]:
    block, slope = curve.logits_(z.to(statistics_dtype(z.dtype)))
    column = target.clamp(0, z.shape[1] - 1).unsqueeze(1)
    inside = target.unsqueeze(1) == column
    block.scatter_(1, column, block.gather(1, column).masked_fill_(inside, -torch.inf))
    maximum = torch.maximum(block.amax(1), floor)
    block.sub_(maximum.unsqueeze(1)).exp_()
    total = block.sum(1)
    if slope is not None:
        block.mul_(slope)
    if block.dtype != z.dtype:
        z.copy_(block)
    return maximum, total
