"""Puts the vocabulary passes into a table that has none.

The general method of arXiv 2411.05288 (section 5) for any schedule: the table is run in time with F = B = W = 1; S of a
microbatch stands at one time on all ranks, right behind its last F; T an interval later; and all backward passes come one
interval later for each barrier. So each barrier costs one microbatch of activations and nothing else: an interval is what a
rank does for one microbatch, so what was periodic stays so. S and T have no time of their own here; squeezing and filling
(`fill`) give it to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pinisi.schedule.costs import Costs
from pinisi.schedule.extend import LARGE, of_any_length
from pinisi.schedule.fill import filled
from pinisi.schedule.replay import replay
from pinisi.schedule.simulate import simulate
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

_UNIT = Costs(1.0, 1.0, 1.0)
# At one time: what others wait for goes first, what nobody waits for last.
_FIRST = {
    kind: at for at, kind in enumerate((Kind.E, Kind.S, Kind.B, Kind.BW, Kind.F, Kind.T, Kind.W, Kind.G))
}


def finished(
    plain: Callable[[int], Schedule],
    layout: Layout,
    microbatches: int,
    costs: Costs,
    *,
    ahead: int | None = None,
    period: int = 1,
) -> Schedule:
    """A whole schedule of `plain`, which makes the table without vocabulary passes for any number of microbatches: woven, and
    filled where `simulate` says that it helps. period: microbatches after which the plain table repeats itself."""

    ahead = layout.ranks if ahead is None else ahead
    positive = costs.positive(layout)

    def whole(microbatches: int) -> Schedule:
        schedule = replace(woven(plain(microbatches), layout.barriers), costs=costs)
        greedy = filled(schedule, positive, ahead)
        if layout.ranks * microbatches > LARGE:
            return greedy
        patient = filled(schedule, positive, ahead, patient=True)
        return min(greedy, patient, schedule, key=lambda s: simulate(s, costs).makespan)

    return of_any_length(whole, layout.ranks, microbatches, period)


def woven(schedule: Schedule, barriers: int) -> Schedule:
    """The table (0 barriers) with E, S, T and G on every rank."""
    if not barriers:
        return schedule
    layout = schedule.layout
    run = replay(schedule, _UNIT)
    interval = max(_UNIT.work(layout))
    late = barriers * interval
    timed: list[list[tuple[float, int, int, Pass]]] = []
    for row, numbers in zip(schedule.order, run.rows, strict=True):
        begun = [run.started[p] for p in numbers]
        # Kind by kind, since runs that are in order already are sorted in no time.
        forward = [
            (time, _FIRST[p.kind], p.microbatch, p)
            for p, time in zip(row, begun, strict=True)
            if p.kind is Kind.F
        ]
        backward = [
            (time + late, _FIRST[p.kind], p.microbatch, p)
            for p, time in zip(row, begun, strict=True)
            if p.kind is not Kind.F
        ]
        timed.append(forward + backward)
    m, first, last = schedule.microbatches, Pass(Kind.F, 0, 0), Pass(Kind.F, layout.last_stage, 0)
    ended = [run.number(Pass(kind, 0, 0)) for kind in (Kind.B, Kind.BW)]  # of either the table has one
    for kind in (Kind.E, Kind.S, Kind.T, Kind.G):
        for i in range(m):
            match kind:
                case Kind.E:
                    time = run.started[run.number(first) + i] - interval / 2
                case Kind.S | Kind.T:
                    time = run.ended[run.number(last) + i] + (kind is Kind.T) * interval
                case _:
                    time = max(run.ended[p + i] for p in ended) + late + interval / 2
            for rank, entries in enumerate(timed):
                entries.append((time, _FIRST[kind], i, Pass(kind, rank, i)))
    order = tuple(tuple(p for *_, p in sorted(row)) for row in timed)
    return replace(schedule, layout=Layout(layout.stages, barriers), order=order)
