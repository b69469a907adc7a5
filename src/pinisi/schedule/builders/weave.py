"""Inserts the vocabulary passes into a table that has none.

The general method of arXiv 2411.05288 (section 5) for any schedule: the table is run in time with F = B = W = 1; S of a
microbatch stands at one time on all ranks, right behind its last F; T an interval later; and all backward passes come one
interval later for each barrier. So each barrier costs one microbatch of activations and nothing else: an interval is what a
rank does for one microbatch, so what was periodic stays so. S and T have no time of their own here; squeezing and filling
(`fill`) give it to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pinisi.schedule.builders.extend import LARGE, of_any_length
from pinisi.schedule.builders.fill import filled
from pinisi.schedule.costs import Costs
from pinisi.schedule.execution.replay import replay
from pinisi.schedule.execution.simulate import simulate
from pinisi.schedule.graph import graph_of, passes_of
from pinisi.schedule.table import Kind, Layout, Schedule

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
    graph, m = graph_of(Layout(layout.stages, barriers)), schedule.microbatches
    started, ended = (
        np.array(times).reshape(-1, m) for times in (run.started, run.ended)
    )  # [type, microbatch]
    first, last = run.graph.number[Kind.F, 0], run.graph.number[Kind.F, layout.last_stage]
    finished = np.maximum(
        *(ended[run.graph.number[kind, 0]] for kind in (Kind.B, Kind.BW))
    )  # the table has either
    shards = {
        Kind.E: started[first] - interval / 2,
        Kind.S: ended[last],
        Kind.T: ended[last] + interval,
        Kind.G: finished + late + interval / 2,
    }
    order_of = np.array([_FIRST[kind] for kind, _ in graph.types])
    delay = np.array([0.0 if kind is Kind.F else late for kind, _ in graph.types])
    moved = np.array([graph.number[key] for key in run.graph.types])
    order = []
    for rank, row in enumerate(run.rows):
        old, i = np.divmod(np.array(row), m)
        types = moved[old]
        times = [started[old, i] + delay[types], *shards.values()]
        numbers = [types * m + i, *(graph.number[kind, rank] * m + np.arange(m) for kind in shards)]
        time, number = np.concatenate(times), np.concatenate(numbers)
        number = number[np.lexsort((number % m, order_of[number // m], time))]
        order.append(passes_of(graph, m, number.tolist()))
    return replace(schedule, layout=graph.layout, order=tuple(order))
