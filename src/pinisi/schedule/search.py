"""Looks for a shorter step than a schedule's own order gives, for given costs and limits of memory.

The order that `build` makes is the first candidate, so what is found is never worse. The others put off what nobody waits for:
T, by some microbatches (with 1 barrier it feeds nothing but the optimizer, so it can fill the bubbles at a step's end), and W;
each is then filled (`fill`), which is list scheduling by the candidate's order under its limits of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from pinisi.errors import ScheduleError
from pinisi.schedule.build import build, layout_of
from pinisi.schedule.costs import Costs
from pinisi.schedule.fill import filled, peaks
from pinisi.schedule.simulate import simulate
from pinisi.schedule.table import Kind, Layout, Pass, Schedule


@dataclass(frozen=True)
class Found:
    """schedule: the best order; makespan: its simulated seconds; bound: seconds that no order can beat; built: the seconds of
    the order that `build` makes, None if that breaks the limits; heads: most microbatches between S and T on a rank."""

    schedule: Schedule
    makespan: float
    bound: float
    built: float | None
    heads: int

    @property
    def of_bound(self) -> float:
        return self.bound / self.makespan


def search(
    name: str,
    ranks: int,
    microbatches: int,
    costs: Costs,
    *,
    chunks: int | None = None,
    barriers: int = 0,
    heads: int | None = None,
    activations: float | None = None,
) -> Found:
    """The best order found of schedule `name`.

    heads: most microbatches that may be between S and T on a rank (each holds one [T, V_r] buffer; None: no limit).
    activations: most microbatches alive on a rank, in its whole share of layers. Raises ScheduleError if no order keeps them.
    """
    layout = layout_of(name, ranks, chunks=chunks, barriers=barriers)
    built = build(name, ranks, microbatches, chunks=chunks, barriers=barriers, costs=costs)
    positive = costs.positive(layout)
    best: tuple[float, Schedule] | None = None
    first: float | None = None
    for candidate in _candidates(built):
        if not _within(candidate, heads, activations):
            continue
        tried = {candidate.order: candidate}
        full = filled(candidate, positive, ahead=ranks)
        tried[full.order] = full
        for schedule in tried.values():
            makespan = simulate(schedule, costs).makespan
            if schedule.order == built.order:
                first = makespan
            if best is None or makespan < best[0] * (1 - 1e-12):
                best = makespan, schedule
    if best is None:
        raise ScheduleError(
            f"{name} on {ranks} ranks can't be run with {heads} heads and {activations} activations alive: allow more, or "
            "choose a schedule that holds less (v-half, v-min)"
        )
    makespan, schedule = best
    most = max(peaks(row)["head"] for row in schedule.order)
    return Found(schedule, makespan, lower_bound(layout, microbatches, costs), first, most)


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


def _within(schedule: Schedule, heads: int | None, activations: float | None) -> bool:
    for row, stages in zip(schedule.order, schedule.layout.stages, strict=True):
        found = peaks(row)
        if heads is not None and found["head"] > heads:
            return False
        if activations is not None and found["activation"] > activations * len(stages) + 1e-9:
            return False
    return True


def _candidates(built: Schedule) -> Iterator[Schedule]:
    """The order as built, then with T and W put off by more and more microbatches."""
    steps = [0, 1, 2, 4, 8, 16, 32, 64, 128]
    late = [n for n in steps if n < built.microbatches] if built.layout.barriers == 1 else [0]
    apart = any(p.kind is Kind.W for row in built.order for p in row)
    for t, w in product(late, [0, 1, 2] if apart else [0]):
        order = tuple(_put_off(_put_off(row, Kind.T, t), Kind.W, w) for row in built.order)
        yield built if order == built.order else replace(built, order=order)


def _put_off(row: tuple[Pass, ...], kind: Kind, by: int) -> tuple[Pass, ...]:
    """Each pass of a kind where the one `by` places later in the row stood; the last ones at the end."""
    if not by:
        return row
    of_kind = [p for p in row if p.kind is kind]
    result, at = [], 0
    for p in row:
        if p.kind is not kind:
            result.append(p)
            continue
        if at >= by:
            result.append(of_kind[at - by])
        at += 1
    return (*result, *of_kind[max(0, len(of_kind) - by) :])
