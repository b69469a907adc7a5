"""Times the given order of a table at the level of `needs`: what `lower` chooses places by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from heapq import heappop, heappush

from pinisi.errors import ScheduleError
from pinisi.schedule.costs import Costs
from pinisi.schedule.needs import COLLECTIVE, Channel, gives, needs
from pinisi.schedule.table import Pass, Schedule

_COST = {
    Channel.ACTIVATION: "p2p",
    Channel.GRADIENT: "p2p",
    Channel.EMBEDDING: "embedding",
    Channel.EMBEDDING_GRADIENT: "embedding",
    Channel.C0: "c0",
    Channel.C1: "c1",
    Channel.C2: "c2",
}
Group = tuple[Channel, int]  # a collective of one microbatch


def replay(schedule: Schedule, costs: Costs) -> Replay:
    """Run the table in its order. Raises ScheduleError for an order in which passes wait for one another."""
    run = Replay(schedule, costs)
    run.execute()
    if any(at < len(passes) for at, passes in zip(run.at, schedule.order, strict=True)):
        raise ScheduleError(_stuck(run))
    return run


class Replay:
    """start, end: seconds by pass; ready: seconds at which a collective was complete.

    Messages take their time and never queue (the exact model is `simulate`'s). With 1 barrier U is launched
    on each rank at the first gap between passes after C1 is complete, because the rank's thread is busy until
    then; U's time is found under Channel.C2.
    """

    def __init__(self, schedule: Schedule, costs: Costs) -> None:
        self.schedule, self.layout, self.seconds = schedule, schedule.layout, costs.table(schedule.layout)
        self._cost = {channel: costs.slowest(name) for channel, name in _COST.items()}
        self._u = costs.slowest("u")
        self._p2p = [costs.at("p2p", rank) for rank in range(self.layout.ranks)]
        self.start: dict[Pass, float] = {}
        self.end: dict[Pass, float] = {}
        self.ready: dict[Group, float] = {}
        self.at = [0] * self.layout.ranks  # each rank's next pass
        self._rank = {p: rank for rank, _, p in schedule.passes()}
        self._busy = [(0.0, 0.0)] * self.layout.ranks  # start and end of each rank's latest pass
        self._missing: dict[Pass | Group, int] = {}
        self._feeds: dict[Pass | Group, list[tuple[Pass | Group, Channel]]] = defaultdict(list)
        self._arrived: dict[Pass | Group, float] = defaultdict(float)
        self._events: list[tuple[float, float, Callable[..., None], tuple[object, ...]]] = []
        self._counted = 0
        for _, _, p in schedule.passes():
            self._add(p)

    def _add(self, p: Pass) -> None:
        missing = 0
        for sources, via in needs(p, self.layout):
            if via in COLLECTIVE:
                missing += 1
                self._feeds[self._group(p, sources, via)].append((p, Channel.STASH))
            else:
                missing += len(sources)
                for source in sources:
                    self._feeds[source].append((p, via))
        self._missing[p] = missing

    def _group(self, p: Pass, sources: tuple[Pass, ...], via: Channel) -> Group:
        """The collective that p waits for, which is fed by its sources."""
        group = (via, p.microbatch)
        if group not in self._missing:
            self._missing[group] = len(sources)
            for source in sources:
                self._feeds[source].append((group, via))
        if via is Channel.C1 and p.kind in ("B", "BW"):  # the last stage waits for U, chained behind C1
            group = (Channel.C2, p.microbatch)
            self._missing[group] = 1
        return group

    def execute(self) -> None:
        """Run until nothing more can start."""
        for rank in range(self.layout.ranks):
            self._begin(rank)
        while self._events:
            now, _, what, arguments = heappop(self._events)
            what(*arguments, now)

    def _later(self, time: float, what: Callable[..., None], *arguments: object, first: bool = False) -> None:
        """Call what(*arguments, time) at a time; of several at one time the one that was named first, or those `first`."""
        self._counted += 1
        turn = -1 / self._counted if first else float(self._counted)
        heappush(self._events, (time, turn, what, arguments))

    def _begin(self, rank: int, now: float = 0.0) -> None:
        """Start the rank's next pass if all that it needs is known to come."""
        passes, at = self.schedule.order[rank], self.at[rank]
        if at == len(passes) or self._missing[passes[at]] or passes[at] in self.start:
            return
        self._start(rank, passes[at], max(self._busy[rank][1], self._arrived[passes[at]]))

    def _start(self, rank: int, p: Pass, start: float) -> None:
        end = start + self.seconds[p.kind, p.part]
        self._busy[rank], self.start[p], self.end[p] = (start, end), start, end
        self._later(end, self._finish, p)

    def _finish(self, p: Pass, now: float) -> None:
        rank = self._rank[p]
        self.at[rank] += 1
        self._ended(p, rank)
        for given in gives(p):
            for target, via in self._feeds.get(given, ()):
                self._feed(target, now + self._travel(rank, target, via), now)
        self._begin(rank, now)

    def _ended(self, p: Pass, rank: int) -> None:
        """For what a subclass keeps of its own."""

    def _is_next(self, rank: int, p: Pass) -> bool:
        passes = self.schedule.order[rank]
        return self.at[rank] < len(passes) and passes[self.at[rank]] == p

    def _travel(self, rank: int, target: Pass | Group, via: Channel) -> float:
        if via is Channel.STASH or via in COLLECTIVE or self._rank.get(target) == rank:  # type: ignore[arg-type]
            return 0.0
        return self._p2p[rank] if via in (Channel.ACTIVATION, Channel.GRADIENT) else self._cost[via]

    def _feed(self, target: Pass | Group, time: float, now: float) -> None:
        self._missing[target] -= 1
        self._arrived[target] = max(self._arrived[target], time)
        if self._missing[target]:
            return
        if isinstance(target, Pass):
            rank = self._rank[target]
            if self._is_next(rank, target):
                self._begin(rank, now)
            return
        via, microbatch = target
        chained = self.layout.barriers == 1 and via is Channel.C2
        self.ready[target] = self._arrived[target] + (self._u if chained else self._cost[via])
        if via is Channel.C1 and self._missing.get((Channel.C2, microbatch)) and self.layout.barriers == 1:
            self._later(self.ready[target], self._chain, microbatch, first=True)
        for p, _ in self._feeds[target]:
            self._feed(p, self.ready[target], now)

    def _chain(self, microbatch: int, now: float) -> None:
        gaps = (end if start < now < end else now for start, end in self._busy)
        self._feed((Channel.C2, microbatch), max(gaps), now)


def _stuck(run: Replay) -> str:
    """Name every rank that waits, and for which pass."""
    schedule = run.schedule
    done = {given for p in run.end for given in gives(p)}
    lines = []
    for rank, step in enumerate(run.at):
        if step == len(schedule.order[rank]):
            continue
        p = schedule.order[rank][step]
        late = [(s, need.via) for need in needs(p, schedule.layout) for s in need.sources if s not in done]
        source, via = late[0]
        lines.append(f"rank {rank}, step {step}: {p} waits for {source} ({via}), which can't run before it")
        lines.append("  " + schedule.excerpt(rank, step))
    return f"schedule '{schedule.name}' can't be run:\n" + "\n".join(lines)
