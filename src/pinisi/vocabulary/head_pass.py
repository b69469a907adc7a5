"""Keeps the results of S for one microbatch, and how much of its [T, V_r] numbers stays in memory until U and T."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pinisi.losses import LossValue
from pinisi.vocabulary.buffers import CPU_BLOCK, SMALL_BLOCK, Buffer, part_rows
from pinisi.vocabulary.kernels import Targets, kernels_for
from pinisi.vocabulary.products import Parts
from pinisi.vocabulary.statistics import Combined, statistics_dtype
from pinisi.vocabulary.tiles import tile_bounds

# Columns of a tile that is worked on beside kept ones: an eighth or a twelfth of the shard's, at least and at most. Wider ones cost
# memory, narrower ones more sums of [T, h].
NARROW, WIDE = 256, 2048
DEVICE_NARROW, DEVICE_WIDE = 2048, 8192  # on a GPU, where a narrow product does not fill it
# `costs.work.head_columns` cuts as `tiling` does, for which a test compares them: a change here is one there.


class Rows(NamedTuple):
    """Views of a shard's rows start to stop, which are the columns of a tile: weight [C, h] and [h, C], gradient [C, h] or None,
    bias and its gradient [C] or None. Made once, since each takes 10 µs and more where a product has left the cache cold."""

    start: int
    stop: int
    weight: Tensor
    transposed: Tensor
    gradient: Tensor | None
    bias: Tensor | None
    bias_gradient: Tensor | None


@dataclass
class Place:
    """Where a tile's [T, C] are kept, and how T cuts them and the gradient that they are for; made once, as `Rows` are."""

    columns: Tensor
    parts: Parts = field(default_factory=list)


def places_in(flat: Tensor, tokens: int, tiles: list[Rows]) -> list[Place]:
    """Of kept tiles, one after the other."""
    places = []
    for rows in tiles:
        width = rows.stop - rows.start
        strides = (aligned(width, flat.device), 1)
        places.append(Place(flat.as_strided((tokens, width), strides, tokens * rows.start)))
    return places


def aligned(columns: int, device: torch.device) -> int:
    """Where the next row of a kept tile begins. Vector loads and matrix products on a GPU need multiples of 16 bytes."""
    return columns if device.type == "cpu" else -(-columns // 64) * 64


@dataclass
class Tile:
    """Columns start to stop of a shard. statistics: as of the pass, whose first two rows run over the columns before stop.

    kept: [T, C] in the model's dtype: exp(l - maximum)·l'(z)/scale, 0 at y's column, or the logits z before the curve (see
    `HeadPass.keeps_logits`); None: T makes z again.
    """

    rows: Rows
    statistics: Tensor
    kept: Place | None

    @property
    def maximum(self) -> Tensor:
        """[T]: of the logits that are not y's."""
        return self.statistics[0]

    @property
    def start(self) -> int:
        return self.rows.start

    @property
    def stop(self) -> int:
        return self.rows.stop


class HeadPass:
    """`statistics` [3, T] is what C1 gathers: m_r, s_r, l_y; [4, T] with Σ_v l_v over the shard's columns where a loss reads
    it. m_r and s_r run over the columns that are not y; l_y is -inf where y is another rank's or ignored.
    """

    def __init__(self, x: Tensor, targets: Tensor, start: int, rows: int, logit_sum: bool = False) -> None:
        self.x = x.detach() if x.requires_grad else x
        self.kernels = kernels_for(x)
        self.targets = Targets(targets, start, rows)
        self.tiles: list[Tile] = []
        self.keeps_logits = False  # the loss needs exponentials and slopes: T makes both from z
        self.buffer: Buffer | None = None  # tiles' `kept` are views of it; None once T has run
        self.statistics = torch.empty(3 + logit_sum, len(x), dtype=statistics_dtype(x.dtype), device=x.device)
        self.target_slope: Tensor  # dl/dz at y, 0 where y is not mine
        self.product: Tensor | None = (
            None  # A_r [T, h], 1 barrier only; of an only tile on a CPU still in bf16
        )
        self.slope_product: Tensor | None = None  # Σ_v l'(z_v)/scale·W_v [T, h], 1 barrier and slopes only
        self.combined: Combined | None = None
        self.coefficients: tuple[Any, LossValue] | None = None  # what HeadShard made of a loss, and that

    @property
    def kept_bytes(self) -> int:
        """Of the [T, V_r] numbers that are kept until T."""
        return sum(tile.kept.columns.nbytes for tile in self.tiles if tile.kept is not None)

    @property
    def nbytes(self) -> int:
        """What it holds on to beside x and vectors [T], in bytes."""
        products = (self.product, self.slope_product)
        return self.kept_bytes + sum(tensor.nbytes for tensor in products if tensor is not None)


class Tiling(NamedTuple):
    """bounds: columns of each tile. kept: how many of them, the first ones, stay until T."""

    bounds: list[tuple[int, int]]
    kept: int

    @property
    def kept_columns(self) -> int:
        return self.bounds[self.kept - 1][1] if self.kept else 0

    @property
    def widest(self) -> int:
        return self.bounds[0][1] if self.bounds else 0


def tiling(
    x: Tensor,
    rows: int,
    budget: int | None,
    beside: int,
    *,
    matrices: int = 1,
    again: int | None = None,
    share: int = 8,
    wide_blocks: int | None = None,
) -> Tiling:
    """budget: bytes that kept tiles and what is worked on may take together (None: no limit; 0: keep none, work as on a large
    budget), which tiles of 64 columns and small blocks are the least of. beside: how many tiles are worked on at a time
    beside kept ones, where all are kept; again: where none is. matrices: how many [T, V_r] there are to keep. share: a tile worked
    on is one of so many of the shard. wide_blocks: of a tile's tokens, in fp32, on a CPU (one of 16-bit numbers)."""
    column = max(1, len(x) * x.element_size())
    narrow, wide = (NARROW, WIDE) if x.device.type == "cpu" else (DEVICE_NARROW, DEVICE_WIDE)
    widest = min(wide, max(narrow, rows // share // 64 * 64))
    left = None if budget is None else max(0, budget - _blocks_bytes(x, WIDE, wide_blocks))
    if left is None or column * (rows * matrices + beside * min(rows, widest)) <= left:
        bounds = tile_bounds(rows, x.device, widest if beside else None)
        return Tiling(bounds, len(bounds))
    working = max(1, beside) if again is None else again
    if budget:
        widest = min(widest, max(64, left // (column * working) // 64 * 64))
        if widest > narrow:  # leave most of a small budget to what is kept
            widest = min(widest, max(narrow, left // (8 * column * working) // 64 * 64))
    bounds = tile_bounds(rows, x.device, widest)
    left -= working * column * (bounds[0][1] if bounds else 0)
    return Tiling(bounds, sum(stop * column * matrices <= left for _, stop in bounds))


def _blocks_bytes(x: Tensor, widest: int, wide_blocks: int | None) -> int:
    """At most, of blocks in fp32 and, in 16 bit, a part of dW, which are worked on on a CPU beside tiles of `widest` columns."""
    if x.device.type != "cpu":
        return 0
    narrow, (tokens, hidden) = x.element_size() <= 2, x.shape
    block = max(SMALL_BLOCK, min(CPU_BLOCK, tokens * max(widest, hidden) // 16))
    part = x.element_size() * part_rows(widest, tokens, hidden) * hidden if narrow else 0
    return 4 * block * (narrow if wide_blocks is None else wide_blocks) + part
