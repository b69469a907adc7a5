"""Puts the vocabulary passes into a table that has none.

The general method of arXiv 2411.05288 (section 5) for any schedule: the table is run in time with F = B = W = 1; S of a
microbatch stands at one time on all ranks, right behind its last F; T an interval later; and all backward passes come one
interval later for each barrier. So each barrier costs one microbatch of activations and nothing else: an interval is what a
rank does for one microbatch, so what was periodic stays so. S and T have no time of their own here; squeezing and filling
(`fill`) give it to them.
"""

from __future__ import annotations

from dataclasses import replace

from pinisi.schedule.costs import Costs
from pinisi.schedule.fill import filled
from pinisi.schedule.replay import replay
from pinisi.schedule.simulate import simulate
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

_UNIT = Costs(1.0, 1.0, 1.0)
_LARGE = 2048  # ranks x microbatches
# At one time: what others wait for goes first, what nobody waits for last.
_FIRST = {
    kind: at for at, kind in enumerate((Kind.E, Kind.S, Kind.B, Kind.BW, Kind.F, Kind.T, Kind.W, Kind.G))
}


def finished(schedule: Schedule, barriers: int, costs: Costs, *, ahead: int | None = None) -> Schedule:
    """A table without vocabulary passes made into a whole schedule: woven, and filled where `simulate` says that it helps (for
    large tables `replay`, which knows no queues but takes a fifth of the time)."""
    plain = replace(woven(schedule, barriers), costs=costs)
    full = filled(plain, costs.positive(plain.layout), schedule.layout.ranks if ahead is None else ahead)
    if full is plain or schedule.layout.ranks * schedule.microbatches > _LARGE:
        return full
    return min(full, plain, key=lambda s: simulate(s, costs).makespan)


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
