"""Runs passes against a clock, at the level of `needs`: to find an order, or to time a given one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from pinisi.schedule.costs import Costs
from pinisi.schedule.needs import COLLECTIVE, Channel, gives, needs
from pinisi.schedule.table import Layout, Pass

_COST = {
    Channel.ACTIVATION: "p2p",
    Channel.GRADIENT: "p2p",
    Channel.EMBEDDING: "embedding",
    Channel.EMBEDDING_GRADIENT: "embedding",
    Channel.C0: "c0",
    Channel.C1: "c1",
    Channel.C2: "c2",
}
_ARRIVE, _FINISH, _CHAIN, _DECIDE = range(
    4
)  # at equal times in this order: decisions see all that came before

Group = tuple[Channel, int]  # a collective of one microbatch
Choose = Callable[
    [int, float, set[Pass]], Pass | None
]  # (rank, now, passes that could start) -> one, or wait


class Clock:
    """One simulated run. start, end: seconds by pass; ready: seconds at which a collective was complete.

    Messages take their time and never queue (the exact model is `simulate`'s). With 1 barrier U is launched on
    each rank at the first gap between passes after C1 is complete, because a rank's thread is busy until then;
    the time of Channel.C2 in `ready` is U's there.
    """

    def __init__(self, passes: Iterable[Pass], layout: Layout, costs: Costs) -> None:
        self.layout, self.seconds = layout, costs.table(layout)
        self.costs = {channel: costs.slowest(name) for channel, name in _COST.items()}
        self.u = costs.slowest("u")
        self.p2p = [costs.at("p2p", rank) for rank in range(layout.ranks)]
        self.start: dict[Pass, float] = {}
        self.end: dict[Pass, float] = {}
        self.ready: dict[Group, float] = {}
        self.possible: list[set[Pass]] = [set() for _ in range(layout.ranks)]
        self.busy_until = [0.0] * layout.ranks
        self._missing: dict[Pass | Group, int] = {}
        self._feeds: dict[Pass | Group, list[tuple[Pass | Group, Channel]]] = defaultdict(list)
        self._arrived: dict[Pass | Group, float] = defaultdict(float)
        self._heap: list[tuple[float, int, int, object]] = []
        self._count = 0
        for p in passes:
            self._add(p)

    def _add(self, p: Pass) -> None:
        missing = 0
        for sources, via in needs(p, self.layout):
            missing += 1
            if via in COLLECTIVE:
                # With 1 barrier the last stage waits for U, the collective chained behind C1.
                via = (
                    Channel.C2
                    if via is Channel.C1 and p.part == self.layout.last_stage and p.kind in "BW"
                    else via
                )
                group = self._group(sources, via, p.microbatch)
                self._feeds[group].append((p, Channel.STASH))
            else:
                missing += len(sources) - 1
                for source in sources:
                    self._feeds[source].append((p, via))
        self._missing[p] = missing
        if not missing:
            self._push(0.0, _ARRIVE, p)

    def _group(self, sources: tuple[Pass, ...], via: Channel, microbatch: int) -> Group:
        group = (via, microbatch)
        if group not in self._missing:
            if via is Channel.C2 and self.layout.barriers == 1:
                self._missing[group] = 1  # fed by C1 itself, in _chain
                self._group(sources, Channel.C1, microbatch)
            else:
                self._missing[group] = len(sources)
                for source in sources:
                    self._feeds[source].append((group, via))
        return group

    def _push(self, time: float, what: int, item: object) -> None:
        self._count += 1
        heappush(self._heap, (time, what, self._count, item))

    def run(self, choose: Choose) -> None:
        """Run until nothing more can start; `choose` picks each rank's next pass."""
        for rank in range(self.layout.ranks):
            self._push(0.0, _DECIDE, rank)
        while self._heap:
            now, what, _, item = heappop(self._heap)
            if what == _ARRIVE:
                self._arrive(now, item)
            elif what == _FINISH:
                self._finish(now, item)
            elif what == _CHAIN:
                self._chain(now, item)
            elif now >= self.busy_until[item]:
                self._decide(now, item, choose)

    def _decide(self, now: float, rank: int, choose: Choose) -> None:
        p = choose(rank, now, self.possible[rank]) if self.possible[rank] else None
        if p is None:
            return
        self.possible[rank].remove(p)
        self.start[p] = now
        self.end[p] = self.busy_until[rank] = now + self.seconds[p.kind, p.part]
        self._push(self.end[p], _FINISH, p)

    def _arrive(self, now: float, p: Pass) -> None:
        rank = self.layout.rank_of(p)
        self.possible[rank].add(p)
        if now >= self.busy_until[rank]:
            self._push(now, _DECIDE, rank)

    def _finish(self, now: float, p: Pass) -> None:
        rank = self.layout.rank_of(p)
        for given in gives(p):
            for target, via in self._feeds.get(given, ()):
                self._feed(target, now + self._travel(rank, target, via))
        self._push(now, _DECIDE, rank)

    def _travel(self, rank: int, target: Pass | Group, via: Channel) -> float:
        if via is Channel.STASH or via in COLLECTIVE:
            return 0.0
        if self.layout.rank_of(target) == rank:
            return 0.0
        return self.p2p[rank] if via in (Channel.ACTIVATION, Channel.GRADIENT) else self.costs[via]

    def _feed(self, target: Pass | Group, time: float) -> None:
        self._missing[target] -= 1
        arrived = self._arrived[target] = max(self._arrived[target], time)
        if self._missing[target]:
            return
        if isinstance(target, Pass):
            self._push(arrived, _ARRIVE, target)
            return
        via, microbatch = target
        chained = self.layout.barriers == 1 and via is Channel.C2
        self.ready[target] = arrived + (self.u if chained else self.costs[via])
        for p, _ in self._feeds[target]:
            self._feed(p, self.ready[target])
        if via is Channel.C1 and self.layout.barriers == 1:
            self._push(self.ready[target], _CHAIN, microbatch)

    def _chain(self, now: float, microbatch: int) -> None:
        if (Channel.C2, microbatch) in self._missing:
            self._feed((Channel.C2, microbatch), max(now, *self.busy_until, now))
