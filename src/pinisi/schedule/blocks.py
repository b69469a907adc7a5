"""Building blocks: the passes of one microbatch with their offsets, repeated every interval, then squeezed.

Source: arXiv 2405.15362 section 3 (blocks), arXiv 2411.05288 section 5 (vocabulary passes in a block).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinisi.schedule.table import Kind, Layout, Pass, Schedule

# At equal times: what frees memory or what others wait for goes first, F last.
_FIRST = {
    kind: at for at, kind in enumerate((Kind.E, Kind.S, Kind.T, Kind.B, Kind.BW, Kind.G, Kind.W, Kind.F))
}


@dataclass(frozen=True)
class BuildingBlock:
    """offsets[kind, part]: when a pass of microbatch 0 starts; interval: how much later the next one's
    does."""

    layout: Layout
    interval: float
    offsets: Mapping[tuple[Kind, int], float]

    def unroll(self, name: str, microbatches: int) -> Schedule:
        """Repeat the block and squeeze it: only each rank's order is kept, so every hole closes."""
        timed: list[list[tuple[float, int, int, Pass]]] = [[] for _ in range(self.layout.ranks)]
        for (kind, part), offset in self.offsets.items():
            passes = timed[self.layout.rank_of(Pass(kind, part, 0))]
            for i in range(microbatches):
                # Rounded, so that offsets summed in another order still meet at the same time.
                time = round((offset + i * self.interval) / self.interval, 9)
                passes.append((time, _FIRST[kind], i, Pass(kind, part, i)))
        order = tuple(tuple(p for *_, p in sorted(passes)) for passes in timed)
        return Schedule(name, self.layout, microbatches, order)
