"""Times the given order of a table at the level of `needs`: what `lower` chooses places by."""

from __future__ import annotations

from functools import cached_property

from pinisi.base.errors import ScheduleError
from pinisi.schedule.costs import Costs
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.graph import GROUPS, Graph, graph_of, numbered
from pinisi.schedule.needs import Channel, gives, needs
from pinisi.schedule.table import Pass, Schedule

_COST = {
    Channel.EMBEDDING: "embedding",
    Channel.EMBEDDING_GRADIENT: "embedding",
    Channel.C0: "c0",
    Channel.C1: "c1",
    Channel.C2: "c2",
}
_NEVER = -1.0


def replay(schedule: Schedule, costs: Costs) -> Replay:
    """Run the table in its order. Raises ScheduleError for an order in which passes wait for one another."""
    run = Replay(schedule, costs)
    run.execute()
    if any(at < len(passes) for at, passes in zip(run.at, schedule.order, strict=True)):
        raise ScheduleError(_stuck(run))
    return run


class Replay:
    """started, ended: seconds by a pass's number (see `graph`), ready: seconds at which a collective was complete, by number.

    Messages take their time and never queue (the exact model is `simulate`'s). With 1 barrier U goes as soon as
    C1 is complete; its time is found under Channel.C2.
    """

    def __init__(self, schedule: Schedule, costs: Costs) -> None:
        self.schedule, self.layout = schedule, schedule.layout
        self.graph, self.microbatches = graph_of(schedule.layout), schedule.microbatches
        self.rows = numbered(schedule)
        m, graph = self.microbatches, self.graph
        table = costs.table(schedule.layout)
        self.seconds = [table[key] for key in graph.types]
        self.feeds = _feeds(graph, m, costs)
        self._group_seconds = [costs.slowest("u" if self._chained(via) else _COST[via]) for via in GROUPS]
        size = len(graph.wants) * m
        self._missing = [wanted for wanted in graph.wants for _ in range(m)]
        self._arrived = [0.0] * size
        self.started, self.ended, self.ready = [_NEVER] * size, [_NEVER] * size, [_NEVER] * size
        self.at = [0] * self.layout.ranks  # each rank's next pass
        self._free = [0.0] * self.layout.ranks  # when each rank's latest pass ends
        self._todo: list[int] = []  # ranks whose next pass may have all that it needs

    def _chained(self, via: Channel) -> bool:
        return via is Channel.C2 and self.layout.barriers == 1

    def number(self, p: Pass) -> int:
        return self.graph.number[p[:2]] * self.microbatches + p.microbatch

    @cached_property
    def start(self) -> dict[Pass, float]:
        """Seconds at which each pass started."""
        return self._by_pass(self.started)

    @cached_property
    def end(self) -> dict[Pass, float]:
        """Seconds at which each pass ended."""
        return self._by_pass(self.ended)

    def _by_pass(self, seconds: list[float]) -> dict[Pass, float]:
        pairs = ((p, seconds[self.number(p)]) for _, _, p in self.schedule.passes())
        return {p: time for p, time in pairs if time >= 0}

    @property
    def makespan(self) -> float:
        return max(0.0, max(self._free, default=0.0))

    @gc_disabled()
    def execute(self) -> None:
        """Run each rank as far as it goes, again and again: in a given order times depend on nothing else."""
        self._todo = list(range(self.layout.ranks))
        while self._todo:
            self._advance(self._todo.pop())

    def _advance(self, rank: int) -> None:
        m, row, at, now = self.microbatches, self.rows[rank], self.at[rank], self._free[rank]
        rows, others, seconds, feeds = self.rows, self.at, self.seconds, self.feeds
        missing, arrived, started, ended = self._missing, self._arrived, self.started, self.ended
        while at < len(row) and not missing[p := row[at]]:
            if arrived[p] > now:
                now = arrived[p]
            t, i = divmod(p, m)
            started[p] = now
            ended[p] = now = now + seconds[t]
            for base, delay, to in feeds[t]:
                target = base + i
                missing[target] -= 1
                if now + delay > arrived[target]:
                    arrived[target] = now + delay
                if missing[target] or to == rank:
                    continue
                if to < 0:
                    self._gathered(target, now)
                elif others[to] < len(rows[to]) and rows[to][others[to]] == target:
                    self._todo.append(to)
            at += 1
        self.at[rank], self._free[rank] = at, now

    def _complete(self, rank: int, p: int, now: float) -> None:
        """All that pass p needs is there or known to come."""
        row, at = self.rows[rank], self.at[rank]
        if at < len(row) and row[at] == p:
            self._todo.append(rank)

    def _gathered(self, group: int, now: float) -> None:
        """All sources of a collective have run: it takes its time, and with 1 barrier U comes behind C1."""
        t, i = divmod(group, self.microbatches)
        via = GROUPS[t - len(self.graph.types)]
        ready = self._arrived[group] + self._group_seconds[t - len(self.graph.types)]
        self.ready[group] = ready
        chain = self.graph.group[Channel.C2] * self.microbatches + i
        if via is Channel.C1 and self.layout.barriers == 1 and self._missing[chain]:
            self._missing[chain] -= 1
            self._arrived[chain] = ready
            self._gathered(chain, now)
        for base, _, rank in self.feeds[t]:
            p = base + i
            self._missing[p] -= 1
            if ready > self._arrived[p]:
                self._arrived[p] = ready
            if not self._missing[p]:
                self._complete(rank, p, now)


def _feeds(graph: Graph, m: int, costs: Costs) -> list[list[tuple[int, float, int]]]:
    """For each type (number of the first microbatch's target, seconds of the way, the target's rank or -1)."""
    seconds = {via: costs.slowest(name) for via, name in _COST.items()}

    def delay(t: int, via: Channel, local: bool) -> float:
        if local or via is Channel.STASH or t >= len(graph.types):
            return 0.0
        if via in (Channel.ACTIVATION, Channel.GRADIENT):
            return costs.at("p2p", graph.rank[t])
        return seconds[via]

    def rank(target: int) -> int:
        return graph.rank[target] if target < len(graph.types) else -1

    return [
        [(feed.target * m, delay(t, feed.via, feed.local), rank(feed.target)) for feed in feeds]
        for t, feeds in enumerate(graph.feeds)
    ]


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
