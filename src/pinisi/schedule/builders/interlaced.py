"""Builds interlaced: the vocabulary in tensor-parallel style inside segments at which all ranks meet (as nnScaler does).

Every interval all ranks run S and T of one microbatch at the same time and wait for the reduction between them. Between two
segments a rank has room for one F and one BW, whole: so ranks take turns in which comes first, F's wave moves on by half an
interval a rank and BW's by a whole one, and 1.5 p microbatches are alive (arXiv 2411.05288, section 2, reports the same).
A baseline: nothing is filled.
"""

from __future__ import annotations

from dataclasses import replace

from pinisi.base.errors import ScheduleError
from pinisi.schedule.builders.blocks import BuildingBlock
from pinisi.schedule.builders.registry import builder
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout, Schedule

_INTERVAL = 3.0  # F = 1, BW = 2; the segment's time is its own


@builder("interlaced")
def _interlaced(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    if not layout.barriers:
        raise ScheduleError("interlaced splits the vocabulary over all ranks: barriers must be 1 or 2")
    offsets: dict[tuple[Kind, int], float] = {}
    segment = 2.0 + _INTERVAL * ((layout.ranks - 1) // 2 + 1) + 1.0
    for rank in range(layout.ranks):
        behind, odd = divmod(layout.ranks - 1 - rank, 2)
        offsets[Kind.F, rank] = segment - 1.0 - _INTERVAL * behind - 2.0 * odd
        offsets[Kind.BW, rank] = segment + 2 * _INTERVAL * behind + (_INTERVAL + 1.0) * odd
        offsets[Kind.S, rank], offsets[Kind.T, rank] = segment - 0.02, segment - 0.01
    for rank in range(layout.ranks):
        offsets[Kind.E, rank] = offsets[Kind.F, 0] - _INTERVAL / 2
        offsets[Kind.G, rank] = offsets[Kind.BW, 0] + 2.0 + _INTERVAL / 2
    block = BuildingBlock(layout, _INTERVAL, offsets)
    return replace(block.unroll("interlaced", microbatches), costs=costs)
