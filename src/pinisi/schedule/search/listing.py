"""Schedules by list: a rank that is free runs, of the passes that are there and have room, the first by a list of keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pinisi.schedule.search.dispatch import Dispatcher
from pinisi.schedule.search.network import Caps, Network, Order


class Lister(Dispatcher):
    """Makes an order: rows. keys[v]: smaller is earlier. patience: a pass that comes within this share of the time that the
    pass at hand takes, and that has a smaller key, is waited for."""

    def __init__(self, network: Network, caps: Sequence[Caps]) -> None:
        super().__init__(network, caps)
        self._serial = network.in_turn()

    def make(self, keys: Sequence[float], patience: float) -> float:
        """The makespan of the order made."""
        net = self.net
        self._keys, self._patience = keys, patience
        self._next = [[0] * len(streams) for streams in net.streams]
        self._done = [False] * net.size
        self._from = [0] * net.ranks  # what stands before it in the serial row has run
        self._unknown = net.count[:]  # of what each node waits for, how much has not even started
        self._soon = [0.0] * len(net.out)
        return self.dispatch()

    def started(self, v: int, end: float) -> None:
        rank = self.net.rank[v]
        self._next[rank][self.net.stream[v]] += 1
        self._done[v] = True
        self._foresee(v, end)

    def choose(self, rank: int, now: float) -> int:
        """The pass to run now, or -1 to wait."""
        net, keys, arrived, missing = self.net, self._keys, self.arrived, self.missing
        best, key = -1, math.inf
        coming: list[tuple[float, int]] = []
        for stream, at in zip(net.streams[rank], self._next[rank], strict=True):
            if at == len(stream):
                continue
            v = stream[at]
            if missing[v] or arrived[v] > now:
                if not self._unknown[v]:
                    coming.append((arrived[v] if not missing[v] else self._soon[v], v))
            elif keys[v] < key and self._has_room(rank, v):
                best, key = v, keys[v]
        if not coming:
            return best
        if best >= 0:
            limit = now + self._patience * net.seconds[best]
            coming = [
                (time, v) for time, v in coming if time < limit and keys[v] < key and self._has_room(rank, v)
            ]
            if not coming:
                return best
        known = [time for time, v in coming if not missing[v]]
        if known:
            self.wake(rank, min(known))
        return -1

    def _foresee(self, v: int, end: float) -> None:
        """What a node that ends then gives to those behind it, if nothing holds the messages up."""
        net = self.net
        for target, seconds, _ in net.out[v]:
            self._soon[target] = max(self._soon[target], end + seconds)
            self._unknown[target] -= 1
            if not self._unknown[target] and net.rank[target] < 0:
                self._foresee(target, self._soon[target] + net.seconds[target])

    def _has_room(self, rank: int, v: int) -> bool:
        """Whether v may run now and then all that stands before it in the serial row: so what is left can always be run one
        microbatch after the other, and nothing gets stuck."""
        net, alive, caps = self.net, self.alive[rank], self.caps[rank]
        for at, change in enumerate(net.changes[v]):
            if change > 0:
                count = alive[at] + 1
                if count > caps[at]:
                    return False
                if len(net.layout.stages[rank]) == 1:
                    continue  # in order, all that stands before v and opens something has run
                row, done = self._serial[rank], self._done
                low = self._from[rank]
                while done[row[low]]:
                    low += 1
                self._from[rank] = low
                while (w := row[low]) != v:
                    if not done[w]:
                        count += net.changes[w][at]
                        if count > caps[at]:
                            return False
                    low += 1
        return True


def keys_by_tail(net: Network) -> list[float]:
    """The longest chain behind a pass first."""
    return [-seconds for seconds in net.least[: net.size]]


def keys_by_kind(net: Network, kinds: str) -> list[float]:
    """The kinds in the order of `kinds`, each by microbatch; of equal ones the later stage first."""
    place = {name: at for at, name in enumerate(kinds.split())}
    count = 1 + max(p.microbatch for p in net.passes)
    parts = 1 + max(p.part for p in net.passes)
    return [(place[p.kind.value] * count + p.microbatch) * parts + (parts - 1 - p.part) for p in net.passes]


def keys_by_order(net: Network, order: Order) -> list[float]:
    """Where each pass stands in a row."""
    keys = [0.0] * net.size
    for row in order:
        for at, v in enumerate(row):
            keys[v] = at
    return keys
