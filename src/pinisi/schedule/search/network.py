"""Numbers a step's passes and times an order of them: what `search` tries its orders with.

Node 0 .. n-1 is a pass, n .. a collective of one microbatch. The model is `simulate`'s with receives that are always posted
early enough: messages between two ranks, and collectives of one channel, come one after the other. Derived from `needs`; what is
found is timed by `simulate` in the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import pairwise

from pinisi.schedule.costs import Costs
from pinisi.schedule.needs import COLLECTIVE, Channel, gives, needs
from pinisi.schedule.table import Kind, Layout, Pass

Order = list[list[int]]  # the nodes of each rank
Caps = tuple[int, int, int]  # most activations, heads and looked-up rows alive on a rank
_COLLECTIVE_COST = {Channel.C0: "c0", Channel.C1: "c1", Channel.C2: "c2"}
_P2P = (Channel.ACTIVATION, Channel.GRADIENT)


class Network:
    """passes[v], seconds[v], rank[v] of node v; out[v]: (node, seconds of the message, link or -1)."""

    def __init__(self, layout: Layout, rows: Sequence[Sequence[Pass]], costs: Costs) -> None:
        table = costs.table(layout)
        self.layout, self.ranks = layout, layout.ranks
        self.passes = [p for row in rows for p in row]
        self.number = {p: v for v, p in enumerate(self.passes)}
        self.rank = [rank for rank, row in enumerate(rows) for _ in row]
        self.seconds = [table[p.kind, p.part] for p in self.passes]
        self.out: list[list[tuple[int, float, int]]] = [[] for _ in self.passes]
        self.count = [0] * len(self.passes)
        self.size = len(self.passes)
        self.channel: list[int] = []  # of each collective: 0 = C0, 1 = C1, 2 = U or C2
        self._groups: dict[tuple[Channel, int], int] = {}
        self._links: dict[tuple[Channel, int, int], int] = {}
        self._costs, self._u = costs, costs.slowest("u")
        stands_for = {given: v for v, p in enumerate(self.passes) for given in gives(p)}
        for v, p in enumerate(self.passes):
            for sources, via in needs(p, layout):
                if via in COLLECTIVE:
                    self._edge(self._collective(p, [stands_for[s] for s in sources], via), v, 0.0, -1)
                else:
                    for source in sources:
                        self._message(stands_for[source], v, via)
        self.links = len(self._links)
        self._add_room(rows)
        self._add_streams(rows)
        self._add_least()

    def _edge(self, source: int, target: int, seconds: float, link: int) -> None:
        self.out[source].append((target, seconds, link))
        self.count[target] += 1

    def _message(self, source: int, target: int, via: Channel) -> None:
        sender, receiver = self.rank[source], self.rank[target]
        if via is Channel.STASH or sender == receiver:
            self._edge(source, target, 0.0, -1)
            return
        link = self._links.setdefault((via, sender, receiver), len(self._links))
        self._edge(source, target, self._costs.at("p2p" if via in _P2P else "embedding", sender), link)

    def _node(self, channel: int, seconds: float) -> int:
        self.channel.append(channel)
        self.seconds.append(seconds)
        self.rank.append(-1)
        self.out.append([])
        self.count.append(0)
        return len(self.out) - 1

    def _collective(self, p: Pass, sources: list[int], via: Channel) -> int:
        """The node of the collective that p waits for."""
        key = via, p.microbatch
        if key not in self._groups:
            channel = (Channel.C0, Channel.C1, Channel.C2).index(via)
            self._groups[key] = node = self._node(channel, self._costs.slowest(_COLLECTIVE_COST[via]))
            for source in sources:
                self._edge(source, node, 0.0, -1)
        node = self._groups[key]
        if via is Channel.C1 and p.kind is not Kind.T:  # the last stage waits for U, chained behind C1
            u = self._node(2, self._u)
            self._edge(node, u, 0.0, -1)
            return u
        return node

    def _add_room(self, rows: Sequence[Sequence[Pass]]) -> None:
        """changes[v]: what v adds to the activations, heads and looked-up rows alive on its rank. An activation lives from F to
        W or BW, a head from S to T, a row from E to the F of the rank's first stage, which stands for stage 0's."""
        self.changes: list[tuple[int, int, int]] = []
        barriers = bool(self.layout.barriers)
        closes = {p[1:] for p in self.passes if p.kind is Kind.T}
        for v, p in enumerate(self.passes):
            first = min(self.layout.stages[self.rank[v]])
            change = [0, 0, 0]
            if p.kind is Kind.F:
                change = [1, 0, -1 if barriers and p.part == first else 0]
            elif p.kind in (Kind.W, Kind.BW):
                change[0] = -1
            elif p.kind is Kind.S and p[1:] in closes:
                change[1] = 1
            elif p.kind is Kind.T:
                change[1] = -1
            elif p.kind is Kind.E:
                change[2] = 1
            self.changes.append((change[0], change[1], change[2]))

    def _add_streams(self, rows: Sequence[Sequence[Pass]]) -> None:
        """streams[rank]: its passes of one kind and part, by microbatch; B and BW of a stage are one stream.

        Equal microbatches lose nothing by staying in order within each: give the k-th start of every stream to microbatch k,
        and every need, which joins passes of one microbatch, holds again. Where some have BW and others B and W (dualpipev),
        that holds among those of one form.
        """
        kinds: dict[int, set[tuple[Kind, int]]] = {}
        for p in self.passes:
            kinds.setdefault(p.microbatch, set()).add((p.kind, p.part))
        forms = {i: frozenset(held) for i, held in kinds.items()}
        self.streams: list[list[list[int]]] = []
        self.stream = [0] * self.size
        for row in rows:
            found: dict[tuple[object, ...], list[int]] = {}
            for p in sorted(row, key=lambda p: p.microbatch):
                found.setdefault((p.kind, p.part, forms[p.microbatch]), []).append(self.number[p])
            self.streams.append(list(found.values()))
            for at, stream in enumerate(found.values()):
                for v in stream:
                    self.stream[v] = at

    def _add_least(self) -> None:
        """least[v]: seconds from v's start to the step's end at least: what waits for it, and the rest of its stream."""
        following = [-1] * self.size
        for streams in self.streams:
            for stream in streams:
                for before, after in pairwise(stream):
                    following[before] = after
        self.least = [0.0] * len(self.out)
        clock = Clock(self)
        clock.run(self.in_turn())
        for v in reversed(clock.turn):
            longest = max((seconds + self.least[target] for target, seconds, _ in self.out[v]), default=0.0)
            if v < self.size and following[v] >= 0:
                longest = max(longest, self.least[following[v]])
            self.least[v] = longest + self.seconds[v]

    def peaks(self, row: Iterable[int]) -> Caps:
        """Most activations, heads and looked-up rows alive in a row."""
        alive, most = [0, 0, 0], [0, 0, 0]
        for v in row:
            for at, change in enumerate(self.changes[v]):
                if change:
                    alive[at] += change
                    most[at] = max(most[at], alive[at])
        return most[0], most[1], most[2]

    def fits(self, row: Iterable[int], caps: Caps) -> bool:
        a = h = r = 0
        changes = self.changes
        most_a, most_h, most_r = caps
        for v in row:
            change = changes[v]
            a += change[0]
            h += change[1]
            r += change[2]
            if a > most_a or h > most_h or r > most_r:
                return False
        return True

    def in_turn(self) -> Order:
        """One microbatch after the other: holds the least that can be, and always runs."""
        turn = {kind: at for at, kind in enumerate((Kind.E, Kind.F, Kind.S, Kind.T, Kind.B, Kind.W, Kind.G))}
        turn[Kind.BW] = turn[Kind.B]

        def key(v: int) -> tuple[int, ...]:
            kind, part, i = self.passes[v]
            backward = kind in (Kind.B, Kind.W, Kind.BW)
            place = 1 if kind is Kind.F else turn[Kind.B] if backward else turn[kind]
            return i, place, -part if backward else part, turn[kind]

        rows: Order = [[] for _ in range(self.ranks)]
        for v in sorted(range(self.size), key=key):
            rows[self.rank[v]].append(v)
        return rows


class Clock:
    """Times an order. start[v]; makespan (infinite if passes wait for one another); turn: nodes in the order in which they ended;
    why[v]: the pass that v waited for, -1 if none."""

    def __init__(self, network: Network) -> None:
        self.net = network

    def reset(self) -> None:
        net = self.net
        nodes = len(net.out)
        self.start, self.arrived, self.why, self.by = [0.0] * nodes, [0.0] * nodes, [-1] * nodes, [-1] * nodes
        self.missing = net.count[:]
        self.turn: list[int] = []
        self.at = [0] * net.ranks
        self.free = [0.0] * net.ranks  # when its latest pass ends
        self.latest = [-1] * net.ranks
        self.running = [False] * net.ranks
        self.link_free = [0.0] * net.links
        self.channel_free = [0.0] * 3
        self.events: list[tuple[float, int]] = []

    def run(self, order: Order, limit: float = math.inf) -> float:
        """The makespan of an order; infinite as soon as it is known to be above `limit`.

        One loop, for speed: local search spends its time here. An event is the end of a pass.
        """
        self.reset()
        net, events = self.net, self.events
        rank_of, out, seconds_of, least = net.rank, net.out, net.seconds, net.least
        start, arrived, why, by_of, missing = self.start, self.arrived, self.why, self.by, self.missing
        at, free, latest, running, turn = self.at, self.free, self.latest, self.running, self.turn
        link_free, channel_free = self.link_free, self.channel_free
        begin = list(range(net.ranks))
        while True:
            for r in begin:  # start the rank's next pass if all that it needs is known to come
                row, place = order[r], at[r]
                if running[r] or place == len(row) or missing[v := row[place]]:
                    continue
                time, came = free[r], arrived[v]
                if came > time:
                    time, why[v] = came, by_of[v]
                else:
                    why[v] = latest[r]
                if time + least[v] > limit:
                    return math.inf
                start[v], latest[r], running[r] = time, v, True
                free[r] = time = time + seconds_of[v]
                heappush(events, (time, v))
            if not events:
                break
            now, v = heappop(events)
            begin = []
            feeds: list[tuple[int, float, int]] = []
            r = rank_of[v]
            turn.append(v)
            at[r] += 1
            running[r] = False
            begin.append(r)
            for target, seconds, link in out[v]:
                if link >= 0:
                    link_free[link] = time = max(now, link_free[link]) + seconds
                    feeds.append((target, time, v))
                else:
                    feeds.append((target, now, v))
            for target, time, by in feeds:
                if time >= arrived[target]:
                    arrived[target], by_of[target] = time, by
                missing[target] -= 1
                if missing[target]:
                    continue
                if (r := rank_of[target]) >= 0:
                    begin.append(r)
                    continue
                channel = net.channel[target - net.size]
                channel_free[channel] = done = (
                    max(arrived[target], channel_free[channel]) + seconds_of[target]
                )
                turn.append(target)
                feeds += [(fed, done, by_of[target]) for fed, _, _ in out[target]]
        self.makespan = max(free) if sum(at) == net.size else math.inf
        return self.makespan

    def tails(self) -> list[float]:
        """Seconds from the start of each node to the end of what hangs on it, in the order just run."""
        net = self.net
        tail = [0.0] * len(net.out)
        behind = [0.0] * net.ranks
        for v in reversed(self.turn):
            longest = 0.0
            for target, seconds, _ in net.out[v]:
                longest = max(longest, seconds + tail[target])
            if (rank := net.rank[v]) >= 0:
                longest = max(longest, behind[rank])
                behind[rank] = longest + net.seconds[v]
            tail[v] = longest + net.seconds[v]
        return tail

    def critical(self) -> list[int]:
        """A longest chain of passes, last one first."""
        rank = max(range(self.net.ranks), key=lambda r: self.free[r])
        v, chain = self.latest[rank], []
        while v >= 0:
            chain.append(v)
            v = self.why[v]
        return chain
