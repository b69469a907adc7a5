"""Element-wise work on [T, C] tiles of the logits, in blocks that stay in the cache."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.vocabulary.statistics import statistics_dtype

CPU_COLUMNS = 4096
DEVICE_COLUMNS = 8192
LOG2_E = math.log2(math.e)
CPU_BLOCK = 2**18  # elements of one element-wise block: 1 MiB in fp32


@dataclass(frozen=True)
class Curve:
    """l as a function of z: scale·z, then cap·tanh(·/cap) where there is a soft-cap."""

    scale: float = 1.0
    softcap: float | None = None

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


@dataclass
class Tile:
    """Columns start to stop of a shard: exps [T, C] = exp(l - maximum)·l'(z)/scale, 0 at y's column.

    slopes [T, C] = l'(z)/scale, y's column too: only where the sum of logits is asked for and they are soft-capped.
    """

    start: int
    stop: int
    exps: Tensor
    maximum: Tensor
    slopes: Tensor | None = None


def tile_bounds(rows: int, device: torch.device, widest: int | None = None) -> list[tuple[int, int]]:
    """Even tiles of a shard's rows, in multiples of 64 but for the last."""
    widest = widest or (CPU_COLUMNS if device.type == "cpu" else DEVICE_COLUMNS)
    tiles = max(1, -(-rows // widest))
    width = -(-rows // (64 * tiles)) * 64
    return [(start, min(start + width, rows)) for start in range(0, rows, width)] if rows else []


def exponentiate_(
    z: Tensor,
    target: Tensor,
    floor: Tensor,
    curve: Curve,
    logit_sum: Tensor | None = None,
    slopes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Turns logits before the curve into exponentials, in place, and returns (maximum [T], sum [T]).

    z [T, C] in the model's dtype becomes exp(l - maximum)·slope. target [T]: the column of y in this tile, or
    any number outside 0..C-1; that column counts for nothing. floor [T]: the maximum over earlier tiles.
    Only with a soft-cap: logit_sum [T], to which Σ l over all columns is added, and slopes [T, C], which is written.
    """
    tokens, width = z.shape
    rows = max(1, CPU_BLOCK // width) if z.device.type == "cpu" else max(1, tokens)
    maximum, total = torch.empty_like(floor), torch.empty_like(floor)
    column = target.clamp(0, width - 1).unsqueeze(1)
    inside = target.unsqueeze(1) == column
    if curve.is_identity:
        _leave_out_(z, column, inside)  # once for the tile; a curve would move -inf, so there it comes after
    for start in range(0, tokens, rows):
        part = slice(start, start + rows)
        block, slope = curve.logits_(z[part].to(statistics_dtype(z.dtype)))
        if logit_sum is not None:  # before y's column is left out
            logit_sum[part] += block.sum(1)
        if slopes is not None and slope is not None:
            slopes[part] = slope
        if not curve.is_identity:
            _leave_out_(block, column[part], inside[part])
        maximum[part], total[part] = _exponentiate_block_(block, floor[part])
        if slope is not None:
            block.mul_(slope)
        if block.dtype != z.dtype:
            z[part].copy_(block)
    return maximum, total


def _leave_out_(l: Tensor, column: Tensor, inside: Tensor) -> None:
    """-inf at the target's column, without asking the host which tokens have one."""
    l.scatter_(1, column, l.gather(1, column).masked_fill_(inside, -torch.inf))


def _exponentiate_block_(l: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """exp(l - maximum) in place, as a power of 2: on a CPU torch.exp2 takes a third of torch.exp's time."""
    maximum = torch.maximum(l.amax(1), floor)
    l.sub_(maximum.unsqueeze(1)).mul_(LOG2_E).exp2_()
    return maximum, l.sum(1)
