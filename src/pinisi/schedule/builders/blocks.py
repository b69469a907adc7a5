"""Builds tables from blocks: the passes of one microbatch with their offsets, repeated every interval, then squeezed.

Source: arXiv 2405.15362 section 3 (blocks), arXiv 2411.05288 section 5 (vocabulary passes in a block).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pinisi.schedule.graph import graph_of, passes_of
from pinisi.schedule.table import Kind, Layout, Schedule

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
        graph, m = graph_of(self.layout), microbatches
        i = np.arange(m)
        times: list[list[np.ndarray]] = [[] for _ in range(self.layout.ranks)]
        numbers: list[list[np.ndarray]] = [[] for _ in range(self.layout.ranks)]
        for key, offset in self.offsets.items():
            t = graph.number[key]
            # Rounded, so that offsets summed in another order still meet at the same time.
            times[graph.rank[t]].append(np.round((offset + i * self.interval) / self.interval, 9))
            numbers[graph.rank[t]].append(t * m + i)
        first = np.array([_FIRST[kind] for kind, _ in graph.types])
        order = []
        for time, number in zip(map(np.concatenate, times), map(np.concatenate, numbers), strict=True):
            sorting = np.lexsort((number % m, first[number // m], time))
            order.append(passes_of(graph, m, number[sorting].tolist()))
        return Schedule(name, self.layout, microbatches, tuple(order))
