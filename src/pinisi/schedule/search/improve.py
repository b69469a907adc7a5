"""Improves orders by local search: moves passes of the critical path along their rows, by simulated annealing.

Job-shop neighbourhoods: a block of the critical path on one rank is left sooner if its last pass goes earlier, and entered sooner
if its first one goes later. And one of our own: a stretch of one microbatch's passes moves in time on all ranks at once, since
S and T only pay where every rank runs them. Each order is timed by `Clock`, which gives up as soon as the order is known to be
refused. The number of moves is given and the draws are seeded, so the same input gives the same order on every machine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from pinisi.schedule.search.backfill import backfilled
from pinisi.schedule.search.listing import Lister
from pinisi.schedule.search.network import Caps, Clock, Network, Order

Timed = tuple[float, Order]  # makespan by `Clock`, order
_KEPT, _ROUND = 4, 150
_STRETCHES = 0.7  # of the shakes; the others blur
_TOGETHER, _ANY = 0.15, 0.25  # of the moves: a microbatch's stretch; any pass of the critical path


def searched(
    net: Network, starts: Sequence[Timed], caps: Sequence[Caps], moves: int, bound: float
) -> list[Timed]:
    """The best orders found from `starts` on, best first. Stops at `bound`, which no order can beat.

    An eighth of the moves goes to the starts, a quarter to the best order in the end. The others go to rounds, each of which
    draws a good order, shakes it and anneals again; where there are few moves for many passes, after backfilling.
    """
    found = starts = _distinct(starts)
    first, last, few = max(min(moves, _ROUND), moves // 8), moves // 4, moves < 10 * net.size
    several = 1 if few else max(1, min(len(starts), first // _ROUND))
    rng, enough = random.Random(1), bound * (1 + 1e-9)
    for at in range(max(0, moves - first - last) // _ROUND + several):
        if not moves or found[0][0] <= enough:
            return found
        if at < several:
            new = annealed(net, starts[at][1], caps, first // several, bound, at)
        else:
            order = _shaken(net, found[int(rng.random() ** 2 * len(found))][1], caps, rng)
            if few:
                order = backfilled(net, order, caps)[1]
            new = annealed(net, order, caps, _ROUND, bound, at)
        found = _distinct([*found, new])
    return _distinct([*found, annealed(net, found[0][1], caps, last, bound)])


def _distinct(found: Sequence[Timed]) -> list[Timed]:
    """The best few of different lengths."""
    kept: list[Timed] = []
    for length, order in sorted(found, key=lambda timed: timed[0]):
        if not kept or length > kept[-1][0] * (1 + 1e-9):
            kept.append((length, order))
    return kept[:_KEPT]


def _shaken(net: Network, order: Order, caps: Sequence[Caps], rng: random.Random) -> Order:
    """List scheduling by the times of an order that are blurred, or in which stretches of microbatches are moved."""
    clock, mean = Clock(net), sum(net.seconds[: net.size]) / net.size
    clock.run(order)
    keys, blur = clock.start[: net.size], mean * rng.choice((0.3, 1.0, 3.0))
    if rng.random() < _STRETCHES:
        blur = mean / 10
        for _ in range(rng.choice((1, 1, 2, 3))):
            _move_stretch(net, keys, mean, rng)
    keys = [key + rng.gauss(0, blur) for key in keys]
    for streams in net.streams:
        for stream in streams:
            for v, key in zip(stream, sorted(keys[v] for v in stream), strict=True):
                keys[v] = key
    lister = Lister(net, caps)
    lister.make(keys, rng.choice((0.0, 0.5, 1.0)))
    return lister.rows


def _move_stretch(net: Network, keys: list[float], mean: float, rng: random.Random) -> None:
    """What a microbatch runs within a stretch of time comes sooner, or later."""
    microbatch = net.passes[rng.randrange(net.size)].microbatch
    passes = [v for v, p in enumerate(net.passes) if p.microbatch == microbatch]
    first = keys[rng.choice(passes)]
    last = first + rng.expovariate(1 / (6 * mean))
    shift = rng.expovariate(1 / (3 * mean)) * rng.choice((-1, -1, 1))
    for v in passes:
        if first <= keys[v] <= last:
            keys[v] += shift


def annealed(
    net: Network, order: Order, caps: Sequence[Caps], moves: int, bound: float, seed: int = 0
) -> Timed:
    """The best order found from `order` on by so many moves. Few moves for many passes: hardly any step uphill."""
    rng = random.Random(seed)
    clock, other = Clock(net), Clock(net)
    current = [row[:] for row in order]
    length = clock.run(current)
    best = length, current
    heat = 2 * sum(net.seconds[: net.size]) / net.size * min(1.0, moves / (10 * net.size))
    neighbours = _Neighbours(net, caps, rng)
    for at in range(moves):
        if best[0] <= bound * (1 + 1e-9):
            break
        trial = neighbours.near(current, clock)
        if trial is None:
            continue
        limit = length - heat * (1 - at / moves) * math.log(1 - rng.random())
        found = other.run(trial, limit * (1 + 1e-12))
        if found < math.inf:
            current, length = trial, found
            clock, other = other, clock
            if found < best[0] - 1e-12:
                best = found, trial
    return best


class _Neighbours:
    def __init__(self, net: Network, caps: Sequence[Caps], rng: random.Random) -> None:
        self.net, self.caps, self.rng = net, caps, rng
        self.of_microbatch: dict[int, list[int]] = {}
        for v, p in enumerate(net.passes):
            self.of_microbatch.setdefault(p.microbatch, []).append(v)
        self.mean = sum(net.seconds[: net.size]) / net.size

    def near(self, order: Order, clock: Clock) -> Order | None:
        """An order one move away, None if the move drawn can't be made."""
        luck = self.rng.random()
        if luck < _TOGETHER:
            return self._together(order, clock)
        chain = clock.critical()[::-1]
        if luck < _TOGETHER + _ANY:
            v = self.rng.choice(chain)
            by = 1 + int(self.rng.expovariate(0.7))
            return self._moved(order, v, by if self.rng.random() < 0.5 else -by)
        blocks = self._blocks(chain)
        if not blocks:
            return None
        block = self.rng.choice(blocks)
        size = len(block)
        k = min(size - 1, 1 + int(self.rng.expovariate(0.7)))
        match self.rng.randrange(4):
            case 0:  # the last one earlier
                return self._moved(order, block[-1], -k)
            case 1:  # the first one later
                return self._moved(order, block[0], k)
            case 2:  # one before it behind the last one
                return self._moved(order, block[-1 - k], k)
            case _:  # one behind it before the first one
                return self._moved(order, block[k], -k)

    def _blocks(self, chain: list[int]) -> list[list[int]]:
        """Runs of the chain on one rank, of two passes and more."""
        rank, blocks = self.net.rank, [[chain[0]]]
        for v in chain[1:]:
            if rank[v] != rank[blocks[-1][-1]]:
                blocks.append([])
            blocks[-1].append(v)
        return [block for block in blocks if len(block) > 1]

    def _moved(self, order: Order, v: int, by: int) -> Order | None:
        net = self.net
        rank = net.rank[v]
        row = order[rank]
        at = row.index(v)
        to = min(max(at + by, 0), len(row) - 1)
        between = row[at + 1 : to + 1] if to > at else row[to:at]
        stream = net.stream[v]
        if not between or any(net.stream[w] == stream for w in between):
            return None
        result = row[:at] + row[at + 1 :]
        result.insert(to, v)
        if not net.fits(result, self.caps[rank]):
            return None
        trial = order[:]
        trial[rank] = result
        return trial

    def _together(self, order: Order, clock: Clock) -> Order | None:
        """The passes of a microbatch within a stretch of time, all by the same time: S and T of all ranks, for example."""
        net, rng, start = self.net, self.rng, clock.start
        microbatch = rng.randrange(len(self.of_microbatch))
        passes = self.of_microbatch[microbatch]
        first = start[rng.choice(passes)]
        last = first + rng.expovariate(0.3 / self.mean)
        shift = rng.expovariate(0.5 / self.mean)
        if rng.random() < 0.7:
            shift = -shift
        chosen = {v for v in passes if first <= start[v] <= last}
        trial = order[:]
        for rank in {net.rank[v] for v in chosen}:
            timed = sorted(
                (start[v] + (shift if v in chosen else 0.0), v in chosen, at, v)
                for at, v in enumerate(order[rank])
            )
            row = [v for *_, v in timed]
            if row == order[rank]:
                continue
            if not self._in_order(row) or not net.fits(row, self.caps[rank]):
                return None
            trial[rank] = row
        return trial if trial != order else None

    def _in_order(self, row: list[int]) -> bool:
        latest: dict[int, int] = {}
        stream, passes = self.net.stream, self.net.passes
        for v in row:
            if latest.get(stream[v], -1) > passes[v].microbatch:
                return False
            latest[stream[v]] = passes[v].microbatch
        return True
