"""Runs a clock that chooses: what list scheduling and backfilling share.

A rank is asked for its next pass whenever it is free and something has changed. The order that comes out has been run in time,
so it can be run.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from heapq import heappop, heappush

from pinisi.schedule.search.network import Caps, Clock, Network, Order


class Dispatcher(Clock):
    """rows: the order made. alive[rank]: activations, heads and rows alive now."""

    def __init__(self, network: Network, caps: Sequence[Caps]) -> None:
        super().__init__(network)
        self.caps = caps

    @abstractmethod
    def choose(self, rank: int, now: float) -> int:
        """The pass that a free rank starts now, or -1 to wait (see `wake`)."""

    def dispatch(self) -> float:
        """Run until nothing more can start; returns the makespan, infinite if not all passes ran."""
        self.reset()
        net = self.net
        self.rows: Order = [[] for _ in range(net.ranks)]
        self.alive = [[0, 0, 0] for _ in range(net.ranks)]
        for rank in range(net.ranks):
            self._begin(rank, 0.0)
        while self.events:
            now, v = heappop(self.events)
            if v >= 0:
                self._ended(v, now)
            else:
                self._begin(-1 - v, now)
        self.makespan = max(self.free) if sum(self.at) == net.size else math.inf
        return self.makespan

    def wake(self, rank: int, time: float) -> None:
        """Ask the rank again then."""
        heappush(self.events, (time, -1 - rank))

    def started(self, v: int, end: float) -> None:
        """For what a subclass keeps of its own."""

    def _begin(self, rank: int, now: float) -> None:
        if self.running[rank] or now < self.free[rank]:
            return
        v = self.choose(rank, now)
        if v < 0:
            return
        net, alive = self.net, self.alive[rank]
        for at, change in enumerate(net.changes[v]):
            alive[at] += change
        self.rows[rank].append(v)
        self.start[v], self.latest[rank], self.running[rank] = now, v, True
        self.free[rank] = end = now + net.seconds[v]
        heappush(self.events, (end, v))
        self.started(v, end)

    def _ended(self, v: int, now: float) -> None:
        net, rank = self.net, self.net.rank[v]
        self.at[rank] += 1
        self.running[rank] = False
        for target, seconds, link in net.out[v]:
            time = now
            if link >= 0:
                time = self.link_free[link] = max(now, self.link_free[link]) + seconds
            self._feed(target, time, v, now)
        self._begin(rank, now)

    def _feed(self, target: int, time: float, by: int, now: float) -> None:
        if time >= self.arrived[target]:
            self.arrived[target], self.by[target] = time, by
        self.missing[target] -= 1
        if self.missing[target]:
            return
        net = self.net
        if (rank := net.rank[target]) >= 0:
            self._begin(rank, now)
            return
        channel = net.channel[target - net.size]
        done = max(self.arrived[target], self.channel_free[channel]) + net.seconds[target]
        self.channel_free[channel] = done
        for fed, _, _ in net.out[target]:
            self._feed(fed, done, self.by[target], now)
