"""Finds a building block of 1F1B with vocabulary passes that has no bubble in the steady state.

On one rank an interval holds F, BW and the short passes X = S, T, E, G side by side. Since F and BW leave no
hole between them but X, X comes either right after F or right after BW, whichever lets S start sooner after
C0. With F's wave at one F a rank, BW's wave then falls into place, one interval in all for each rank, for any
choice made by the ranks: so nobody waits, for p - r + barriers microbatches alive (2411.05288, section 5,
places S and T by the same rule; the choice per rank is what spares its holes). S(i), T(i-1) are adjacent: C1
travels during T, and one T at most waits besides the current S. Where communication or an odd ratio of costs
leave no such block, the interval grows by a little until there is one; closing the holes recovers most of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinisi.schedule.builders.blocks import BuildingBlock
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout

MANY = 12  # ranks from which on the slower waves have proved better more often than not
_TINY = 1e-9  # of an interval: equal, up to rounding


def blocks(layout: Layout, costs: Costs, caps: list[int]) -> Iterator[BuildingBlock]:
    """Yield blocks with at most caps[rank] microbatches alive, for several paces of F's wave.

    A slower wave (a third or a half of an interval per rank) sets the ranks to two or three phases, which for
    some ratios of costs, and for many ranks, fits the collectives between the passes better.
    """
    for pace in (0.0, 1 / 2, 1 / 3) if layout.ranks < MANY else (1 / 3, 1 / 2, 0.0):
        interval = costs.busiest(layout)
        while (block := _PeriodicSearch(layout, costs, caps, interval, pace * interval).block()) is None:
            interval *= 1.01
        yield block


@dataclass
class _PeriodicSearch:
    """One try with a given interval; all times are those of microbatch 0, modulo nothing."""

    layout: Layout
    costs: Costs
    caps: list[int]
    interval: float
    pace: float
    seconds: dict[tuple[Kind, int], float] = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = self.costs.table(self.layout)
        sums = [sum(self._of(kind, r) for kind in Kind) for r in range(self.layout.ranks)]
        alone = [self._of(Kind.B, r) + self._of(Kind.W, r) for r in range(self.layout.ranks)]  # parts of BW
        self.slack = [self.interval - total + twice for total, twice in zip(sums, alone, strict=True)]
        self.short = [sum(self._of(k, r) for k in "STEG") for r in range(self.layout.ranks)]

    def _of(self, kind: str, rank: int) -> float:
        return self.seconds[Kind(kind), rank]

    def block(self) -> BuildingBlock | None:
        """A block with this interval, or None if more microbatches would be alive than allowed."""
        forward = self._forwards()
        heads, after_f = self._heads(forward)
        turns, gradient = self._gradient(heads)
        backward = self._backwards(forward, heads, after_f, gradient)
        if not self._fits(forward, backward):
            return None
        while self._fits(
            forward, later := self._backwards(forward, heads, after_f, backward[-1] + self.interval)
        ):
            backward = later  # all of the room allowed is used, to absorb what the costs don't know
        return BuildingBlock(self.layout, self.interval, self._offsets(forward, heads, turns, backward))

    def _forwards(self) -> list[float]:
        times = [0.0]
        for rank in range(self.layout.ranks - 1):
            hop = self._of("F", rank) + self.costs.at("p2p", rank)
            times.append(times[-1] + max(hop, self.pace))
        return times

    def _next(self, time: float, phase: float, rank: int) -> float:
        """The first moment from `time` on that is at `phase`, or up to the rank's slack behind it."""
        late = (time - phase) % self.interval
        tiny = _TINY * self.interval
        if late <= self.slack[rank] + tiny or self.interval - late < tiny:
            return time
        return time + self.interval - late

    def _heads(self, forward: list[float]) -> tuple[list[float], list[bool]]:
        """When each rank's S starts, and whether it follows F (else BW)."""
        times, after_f = [], []
        last = self.layout.ranks - 1
        end = forward[last] + self._of("F", last)
        for rank in range(last + 1):
            ready = end + (0.0 if rank == last else self.costs.slowest("c0"))
            behind = self._next(ready, forward[rank] + self._of("F", rank), rank)
            before = self._next(ready, forward[rank] - self.short[rank] - self.slack[rank], rank)
            # On the last rank S must come at once: every other rank's S, and so BW, wait for it.
            after_f.append(rank == last or behind <= before + _TINY * self.interval)
            times.append(behind if after_f[-1] else before)
        return times, after_f

    def _gradient(self, heads: list[float]) -> tuple[list[float], float]:
        """When each rank's T starts, and when the last rank has what its BW waits for."""
        ranks = range(self.layout.ranks)
        gathered = max(heads[r] + self._of("S", r) for r in ranks) + self.costs.slowest("c1")
        turns = [heads[r] + self._of("S", r) for r in ranks]
        for r in ranks:  # T of an earlier microbatch stands right behind S
            turns[r] += self.interval * max(1, math.ceil((gathered - turns[r]) / self.interval - _TINY))
        if self.layout.barriers == 2:
            return turns, max(turns[r] + self._of("T", r) for r in ranks) + self.costs.slowest("c2")
        return turns, gathered + self.costs.slowest("u")

    def _backwards(
        self, forward: list[float], heads: list[float], after_f: list[bool], ready: float
    ) -> list[float]:
        times = [0.0] * self.layout.ranks
        for rank in reversed(range(self.layout.ranks)):
            phase = heads[rank] + self.short[rank] if after_f[rank] else forward[rank] + self._of("F", rank)
            times[rank] = self._next(ready, phase, rank)
            ready = times[rank] + self._of("BW", rank) + self.costs.at("p2p", rank)
        return times

    def _fits(self, forward: list[float], backward: list[float]) -> bool:
        """Whether on each rank BW of a microbatch starts before F of the one that is `cap` behind it."""
        limits = zip(forward, backward, self.caps, strict=True)
        return all(b < f + (cap - _TINY) * self.interval for f, b, cap in limits)

    def _offsets(
        self, forward: list[float], heads: list[float], turns: list[float], backward: list[float]
    ) -> dict[tuple[Kind, int], float]:
        offsets: dict[tuple[Kind, int], float] = {}
        message = self.costs.slowest("embedding")
        for rank in range(self.layout.ranks):
            offsets[Kind.F, rank], offsets[Kind.S, rank] = forward[rank], heads[rank]
            offsets[Kind.T, rank], offsets[Kind.BW, rank] = turns[rank], backward[rank]
            behind_t = heads[rank] + self._of("S", rank) + self._of("T", rank)
            # Half an interval at least between the rows' way and stage 0's F: nobody should wait for a
            # lookup.
            due = forward[0] - message - self._of("E", rank) - self.interval / 2
            offsets[Kind.E, rank] = behind_t - self.interval * math.ceil((behind_t - due) / self.interval)
            behind_e = behind_t + self._of("E", rank)
            come = backward[0] + self._of("BW", 0) + message
            offsets[Kind.G, rank] = behind_e + self.interval * math.ceil((come - behind_e) / self.interval)
        return offsets
