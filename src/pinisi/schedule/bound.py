"""Seconds that no order of a step's passes can beat."""

from __future__ import annotations

from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout


def lower_bound(layout: Layout, microbatches: int, costs: Costs) -> float:
    """Seconds that no order of the passes can beat: on each rank its passes, behind what its first F waits for, and before what
    waits for its last B; and the longest chain of one microbatch.

    Passes that nothing waits for (T with 1 barrier, W, G) or that wait for nothing (E) can stand before and behind, so they
    shorten what is counted as waiting.
    """
    seconds = costs.table(layout)
    bounds = [_chain(layout, costs)]
    for rank, stages in enumerate(layout.stages):
        work = costs.work(layout)[rank] * microbatches
        early = sum(_forward(layout, costs, stage) for stage in range(min(stages)))
        late = sum(_backward(layout, costs, stage) for stage in range(min(stages)))
        before = microbatches * (seconds[Kind.E, rank] if layout.barriers else 0.0)
        behind = microbatches * sum(seconds[Kind.W, stage] for stage in stages)
        if layout.barriers:
            behind += microbatches * (
                seconds[Kind.G, rank] + (seconds[Kind.T, rank] if layout.barriers == 1 else 0.0)
            )
        bounds.append(work + max(0.0, early - before) + max(0.0, late - behind))
    return max(bounds)


def _forward(layout: Layout, costs: Costs, stage: int) -> float:
    rank = layout.rank_of_stage(stage)
    hop = costs.at("p2p", rank) if rank != layout.rank_of_stage(stage + 1) else 0.0
    return costs.table(layout)[Kind.F, stage] + hop


def _backward(layout: Layout, costs: Costs, stage: int) -> float:
    """Of one stage on the way back, at least: B without W, which may come later."""
    return costs.table(layout)[Kind.B, stage]


def _chain(layout: Layout, costs: Costs) -> float:
    """One microbatch from its first F to the end of its last B."""
    seconds = costs.table(layout)
    head = 0.0
    if layout.barriers:
        head = (
            costs.slowest("c0")
            + min(seconds[Kind.S, rank] for rank in range(layout.ranks))
            + costs.slowest("c1")
        )
        if layout.barriers == 1:
            head += costs.slowest("u")
        else:
            head += min(seconds[Kind.T, rank] for rank in range(layout.ranks)) + costs.slowest("c2")
    stages = range(layout.last_stage + 1)
    return head + sum(seconds[Kind.F, s] + seconds[Kind.B, s] for s in stages)
