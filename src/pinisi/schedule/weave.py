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
    timed: list[list[tuple[float, int, int, Pass]]] = [[] for _ in schedule.order]

    def put(rank: int, time: float, p: Pass) -> None:
        timed[rank].append((time, _FIRST[p.kind], p.microbatch, p))

    for rank, _, p in schedule.passes():
        put(rank, run.start[p] + (0.0 if p.kind is Kind.F else barriers * interval), p)
    for i in range(schedule.microbatches):
        looked_up = run.start[Pass(Kind.F, 0, i)] - interval / 2
        behind = run.end[Pass(Kind.F, layout.last_stage, i)]
        ended = next(run.end[p] for k in (Kind.B, Kind.BW) if (p := Pass(k, 0, i)) in run.end)
        for rank in range(layout.ranks):
            put(rank, looked_up, Pass(Kind.E, rank, i))
            put(rank, behind, Pass(Kind.S, rank, i))
            put(rank, behind + interval, Pass(Kind.T, rank, i))
            put(rank, ended + (barriers + 0.5) * interval, Pass(Kind.G, rank, i))
    order = tuple(tuple(p for *_, p in sorted(row)) for row in timed)
    return replace(schedule, layout=Layout(layout.stages, barriers), order=order)
