"""Moves passes that nobody waits for (T with 1 barrier, W, G) to where they delay no other.

The other passes are timed without them, in a given order, and so is how late each may start if the step is to end by a deadline.
Then the order is run again; a rank that would wait runs a free pass if the next pass of the order can start in time behind it.
As long as no pass starts later than it may, the step keeps the deadline, whatever the other ranks put in: so all ranks fill their
waits at once. What finds no place comes at the rank's end. Several deadlines are tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pinisi.schedule.search.dispatch import Dispatcher
from pinisi.schedule.search.network import Caps, Clock, Network, Order
from pinisi.schedule.table import Kind

_DEADLINES = 8


def backfilled(net: Network, order: Order, caps: Sequence[Caps]) -> tuple[float, Order]:
    """(makespan, order): the passes of `order`, which must keep `caps`, with the free ones put where they fit."""
    length = Clock(net).run(order)
    best = length, order
    kinds = {Kind.W, Kind.G} | ({Kind.T} if net.layout.barriers == 1 else set())
    free = [p.kind in kinds for p in net.passes]
    core = [[v for v in row if not free[v]] for row in order]
    clock = Clock(net)
    clock.run(core)
    tails = clock.tails()
    shortest = max(clock.free)
    run = _Backfill(net, caps, core, free)
    for step in range(_DEADLINES + 1):
        deadline = shortest + (max(length, shortest) - shortest) * step / _DEADLINES
        found = run.make([deadline - tail for tail in tails])
        if found < best[0] * (1 - 1e-12):
            best = found, run.rows
    return best


class _Backfill(Dispatcher):
    def __init__(self, net: Network, caps: Sequence[Caps], core: Order, free: Sequence[bool]) -> None:
        super().__init__(net, caps)
        self._core, self._is_free = core, free
        self._streams = [[stream for stream in streams if free[stream[0]]] for streams in net.streams]

    def make(self, latest: Sequence[float]) -> float:
        """latest[v]: when v may start at the latest."""
        self._until = latest
        self._next = [0] * self.net.ranks
        self._at = [{stream[0]: 0 for stream in streams} for streams in self._streams]
        return self.dispatch()

    def started(self, v: int, end: float) -> None:
        net, rank = self.net, self.net.rank[v]
        if self._is_free[v]:
            self._at[rank][net.streams[rank][net.stream[v]][0]] += 1
        else:
            self._next[rank] += 1

    def choose(self, rank: int, now: float) -> int:
        core, at = self._core[rank], self._next[rank]
        if at == len(core):
            return self._free_pass(rank, -1, now, math.inf, math.inf)
        v = core[at]
        if not self._has_room(rank, v):
            return self._free_pass(rank, v, now, math.inf, math.inf)
        if self.missing[v]:
            return self._free_pass(rank, -1, now, self._until[v], math.inf)
        if self.arrived[v] <= now:
            return v
        return self._free_pass(rank, -1, now, max(self._until[v], self.arrived[v]), self.arrived[v])

    def _free_pass(self, rank: int, v: int, now: float, limit: float, wake: float) -> int:
        """A free pass that ends by `limit`: one that makes room for v, if given, else the longest, since the shorter ones
        fit elsewhere more easily."""
        net = self.net
        best, value = -1, (False, 0.0)
        for stream in self._streams[rank]:
            done = self._at[rank][stream[0]]
            if done == len(stream) or self.missing[w := stream[done]]:
                continue
            if self.arrived[w] > now:
                wake = min(wake, self.arrived[w])
            elif now + net.seconds[w] <= limit:
                mine = v >= 0 and self._helps(w, v), net.seconds[w]
                if best < 0 or mine > value:
                    best, value = w, mine
        if best < 0 and wake < math.inf:
            self.wake(rank, wake)
        return best

    def _has_room(self, rank: int, v: int) -> bool:
        alive, caps = self.alive[rank], self.caps[rank]
        return all(
            change <= 0 or alive[at] + change <= caps[at] for at, change in enumerate(self.net.changes[v])
        )

    def _helps(self, w: int, v: int) -> bool:
        """Whether w gives what v lacks."""
        return any(a < 0 < b for a, b in zip(self.net.changes[w], self.net.changes[v], strict=True))
