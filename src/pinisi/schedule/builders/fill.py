"""Fills what a repeated block leaves idle where a step begins and ends.

A block repeats one order from the first microbatch to the last, but at the step's ends some of its passes are missing, and
what waits for them leaves its rank idle. Here the table is run once more in time; a rank that would wait runs the next pass
of its row that has all it needs instead, as long as no more activations and heads are alive than the table holds
anyway. In the steady state a good block leaves nothing to fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from heapq import heappop, heappush

from pinisi.schedule.costs import Costs
from pinisi.schedule.execution.replay import Replay, replay
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.graph import passes_of
from pinisi.schedule.table import Kind, Pass, Schedule

_OPENS = {Kind.F: "activation", Kind.S: "head"}
_NOBODY_WAITS = frozenset((Kind.W, Kind.G))
LOOKUPS = 3  # microbatches that may be looked up before stage 0 has taken the first of them
_CLOSES = {Kind.BW: "activation", Kind.W: "activation", Kind.T: "head"}


def filled(schedule: Schedule, costs: Costs, ahead: int = 1, *, patient: bool = False) -> Schedule:
    """The table itself, or the filled one if `replay` says that it ends sooner; costs must be positive.

    ahead: how many microbatches a pass may be pulled ahead by. patient: no pass is pulled ahead that would be running
    when the one that is next in the row is expected; which is better depends on the table. Any order that comes out of a
    run in time can be run, so the result needs no other proof (`verify` gives one).
    """
    before = replay(schedule, costs)
    run = _Filler(schedule, costs, ahead, before.started if patient else None)
    run.execute()
    whole = all(len(row) == len(old) for row, old in zip(run.chosen, run.rows, strict=True))
    if not whole or run.makespan >= before.makespan * (1 - 1e-9):
        return schedule
    return replace(schedule, order=run.order(), costs=costs)


def peaks(passes: Iterable[Pass]) -> dict[str, int]:
    """Most activations and heads alive in a row, in passes."""
    alive, peak = {"activation": 0, "head": 0}, {"activation": 0, "head": 0}
    for p in passes:
        if what := _OPENS.get(p.kind):
            alive[what] += 1
            peak[what] = max(peak[what], alive[what])
        elif what := _CLOSES.get(p.kind):
            alive[what] -= 1
    return peak


_NONE, _ACTIVATION, _HEAD = 0, 1, 2
_WHAT = {None: _NONE, "activation": _ACTIVATION, "head": _HEAD}


class _Filler(Replay):
    """A replay that chooses: chosen[rank] is the order in which the rank ran its passes. expected: seconds at which passes
    are expected to start, by number, if it is to be patient."""

    def __init__(self, schedule: Schedule, costs: Costs, ahead: int, expected: list[float] | None) -> None:
        super().__init__(schedule, costs)
        graph, kinds = self.graph, [kind for kind, _ in self.graph.types]
        # Time, turn, and a pass that ends, or ~p: what pass p needs has come.
        self._events: list[tuple[float, int, int]] = []
        self._turn = 0
        self._opens = [_WHAT[_OPENS.get(kind)] for kind in kinds]
        self._closes = [_WHAT[_CLOSES.get(kind)] for kind in kinds]
        self._urgent = [kind not in _NOBODY_WAITS for kind in kinds]
        self._expected = expected
        m = self.microbatches
        self._lookups = [graph.number[Kind.E, rank] * m for rank in self.layout.vocabulary_ranks]
        self._first, self._entered = graph.number[Kind.F, 0], 0  # microbatches that have come to stage 0
        self.chosen: list[list[int]] = [[] for _ in self.rows]
        self._place = [-1] * len(self.started)  # where a pass stands in its row
        for row in self.rows:
            for at, p in enumerate(row):
                self._place[p] = at
        alive = [peaks(row) for row in schedule.order]
        self._peak = [(0, most["activation"], most["head"]) for most in alive]
        self._alive = [[0, 0, 0] for _ in self.rows]
        self._window = [(1 + ahead) * -(-len(row) // schedule.microbatches) for row in self.rows]
        self._running = [False] * self.layout.ranks
        # Places of passes that have all they need, E's only when they are due; in order, so each is a heap.
        lookups = {p + i for p in self._lookups for i in range(LOOKUPS, m)}
        self._ready = [
            [at for at, p in enumerate(row) if not self._missing[p] and p not in lookups] for row in self.rows
        ]

    def order(self) -> tuple[tuple[Pass, ...], ...]:
        return tuple(passes_of(self.graph, self.microbatches, row) for row in self.chosen)

    @gc_disabled()
    def execute(self) -> None:
        """Run until nothing more can start."""
        for rank in range(self.layout.ranks):
            self._begin(rank, 0.0)
        events = self._events
        while events:
            now, _, what = heappop(events)
            if what < 0:
                self._came(~what, now)
            else:
                self._finish(what, now)

    def _event(self, time: float, what: int) -> None:
        self._turn += 1
        heappush(self._events, (time, self._turn, what))

    def _begin(self, rank: int, now: float) -> None:
        if self._running[rank] or not self._ready[rank]:
            return
        place = self._choose(rank, now)
        if place is None:
            return
        row = self.rows[rank]
        p = row[place]
        self._alive[rank][self._opens[p // self.microbatches]] += 1
        self.chosen[rank].append(p)
        self._running[rank] = True
        self.started[p], end = now, now + self.seconds[p // self.microbatches]
        self._free[rank] = self.ended[p] = end
        self._event(end, p)
        if p // self.microbatches == self._first:
            self._enter(now)
        at = self.at[rank]
        while at < len(row) and self.started[row[at]] >= 0:
            at += 1
        self.at[rank] = at

    def _enter(self, now: float) -> None:
        """A microbatch has come to stage 0, so one more may be looked up: earlier its rows would only wait there."""
        due = self._entered + LOOKUPS
        self._entered += 1
        if due < self.microbatches:
            for rank, first in enumerate(self._lookups):
                heappush(self._ready[rank], self._place[first + due])
                self._begin(rank, now)

    def _choose(self, rank: int, now: float) -> int | None:
        """The place of the next pass among those that could run, or None to wait."""
        ready, held, front = self._ready[rank], [], self.at[rank]
        chosen = None
        while ready and chosen is None:
            place = heappop(ready)
            if place == front or (
                place <= front + self._window[rank]
                and self._has_room(rank, front, place)
                and self._delays_nothing(rank, front, place, now)
            ):
                chosen = place
            else:
                held.append(place)
                if place > front + self._window[rank]:
                    break
        for place in held:
            heappush(ready, place)
        return chosen

    def _has_room(self, rank: int, front: int, place: int) -> bool:
        """Whether the pass may run now, and then all that stands before it in the row, without more alive than the row's
        peak: so what is left can always be run in its order, and nothing gets stuck."""
        row, m, started = self.rows[rank], self.microbatches, self.started
        what = self._opens[row[place] // m]
        if what == _NONE:
            return True
        alive, peak = self._alive[rank][what] + 1, self._peak[rank][what]
        if alive > peak:
            return False
        for p in row[front:place]:
            if started[p] < 0:
                alive += (self._opens[p // m] == what) - (self._closes[p // m] == what)
                if alive > peak:
                    return False
        return True

    def _delays_nothing(self, rank: int, front: int, place: int, now: float) -> bool:
        """Whether the pass would be over before the next one that others wait for is expected."""
        if self._expected is None:
            return True
        row, m = self.rows[rank], self.microbatches
        for p in row[front:place]:
            if self._urgent[p // m] and self.started[p] < 0:
                return now + self.seconds[row[place] // m] <= self._expected[p] * (1 + 1e-9)
        return True

    def _finish(self, p: int, now: float) -> None:
        t, i = divmod(p, self.microbatches)
        rank = self.graph.rank[t]
        self._running[rank] = False
        self._alive[rank][self._closes[t]] -= 1
        missing, arrived = self._missing, self._arrived
        for base, delay, to in self.feeds[t]:
            target = base + i
            missing[target] -= 1
            if now + delay > arrived[target]:
                arrived[target] = now + delay
            if missing[target]:
                continue
            if to >= 0:
                self._complete(to, target, now)
            else:
                self._gathered(target, now)
        self._begin(rank, now)

    def _complete(self, rank: int, p: int, now: float) -> None:
        if self._place[p] < 0:  # of B and BW the table holds one
            return
        if self._arrived[p] > now:
            self._event(self._arrived[p], ~p)
        else:
            self._came(p, now)

    def _came(self, p: int, now: float) -> None:
        rank = self.graph.rank[p // self.microbatches]
        heappush(self._ready[rank], self._place[p])
        self._begin(rank, now)
