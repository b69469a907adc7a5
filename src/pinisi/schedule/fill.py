"""Fills what a repeated block leaves idle where a step begins and ends.

A block repeats one order from the first microbatch to the last, but at the step's ends some of its passes are missing, and
what waits for them leaves its rank idle. Here the table is run once more in time; a rank that would wait runs the next pass
of its row that has all it needs instead, as long as no more activations and heads are alive than the table holds
anyway. In the steady state a good block leaves nothing to fill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pinisi.schedule.costs import Costs
from pinisi.schedule.replay import Replay, replay
from pinisi.schedule.table import Kind, Pass, Schedule

_OPENS = {Kind.F: "activation", Kind.S: "head"}
_CLOSES = {Kind.BW: "activation", Kind.W: "activation", Kind.T: "head"}


def filled(schedule: Schedule, costs: Costs, ahead: int = 1) -> Schedule:
    """The table itself, or the filled one if `replay` says that it ends sooner; costs must be positive.

    ahead: how many microbatches a pass may be pulled ahead by (rows of the embedding wait at stage 0 once their E has run).
    Any order that comes out of a run in time can be run, so the result needs no other proof (`verify` gives one).
    """
    before = replay(schedule, costs)
    run = _Filler(schedule, costs, ahead)
    run.execute()
    if _end(run) >= _end(before) * (1 - 1e-9) or len(run.end) != len(before.end):
        return schedule
    return replace(schedule, order=tuple(tuple(row) for row in run.rows), costs=costs)


def _end(run: Replay) -> float:
    return max(run.end.values(), default=0.0)


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


class _Filler(Replay):
    """A replay that chooses: rows[rank] is the order in which the rank ran its passes."""

    def __init__(self, schedule: Schedule, costs: Costs, ahead: int) -> None:
        super().__init__(schedule, costs)
        self.rows: list[list[Pass]] = [[] for _ in schedule.order]
        self._left = [list(row) for row in schedule.order]
        self._peak = [peaks(row) for row in schedule.order]
        self._alive = [{"activation": 0, "head": 0} for _ in schedule.order]
        self._window = [(1 + ahead) * -(-len(row) // schedule.microbatches) for row in schedule.order]
        self._running = [False] * self.layout.ranks

    def _begin(self, rank: int, now: float = 0.0) -> None:
        if self._running[rank]:
            return
        chosen = self._choose(rank, now)
        if chosen is None:
            return
        p = self._left[rank].pop(chosen)
        if what := _OPENS.get(p.kind):
            self._alive[rank][what] += 1
        self.rows[rank].append(p)
        self._running[rank] = True
        self._start(rank, p, now)

    def _choose(self, rank: int, now: float) -> int | None:
        """Where the next pass stands among those left, or None to wait for a message."""
        wake = None
        for at, p in enumerate(self._left[rank][: self._window[rank]]):
            if self._missing[p]:
                continue
            if self._arrived[p] > now:
                wake = self._arrived[p] if wake is None else min(wake, self._arrived[p])
            elif self._has_room(rank, at, p):
                return at
        if wake is not None:
            self._later(wake, self._begin, rank)
        return None

    def _has_room(self, rank: int, at: int, p: Pass) -> bool:
        """Whether p may run now, and then all that stands before it in the row, without more alive than the row's peak: so
        what is left can always be run in its order, and nothing gets stuck."""
        what = _OPENS.get(p.kind)
        if what is None:
            return True
        alive, peak = self._alive[rank][what] + 1, self._peak[rank][what]
        if alive > peak:
            return False
        for before in self._left[rank][:at]:
            alive += (_OPENS.get(before.kind) == what) - (_CLOSES.get(before.kind) == what)
            if alive > peak:
                return False
        return True

    def _ended(self, p: Pass, rank: int) -> None:
        self._running[rank] = False
        if what := _CLOSES.get(p.kind):
            self._alive[rank][what] -= 1

    def _is_next(self, rank: int, p: Pass) -> bool:
        return not self._running[rank]
