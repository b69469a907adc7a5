"""Computes the seconds that no order of a step's passes can beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout


def lower_bound(
    layout: Layout,
    microbatches: int,
    costs: Costs,
    *,
    whole: bool = False,
    activations: Sequence[int] | None = None,
    heads: int | None = None,
) -> float:
    """The largest of what is known of every order.

    One microbatch takes as long as the chain of its passes. On a rank, any kinds of pass need their whole time between the
    soonest start of one of them and what must still follow the last one. And with at most c activations alive on a rank, each
    for at least its chain from F to the end of W, they need 1/c of the sum of those lives; heads, from S to T, likewise.

    whole: B and W run as one, so what waits for B waits for W too. activations[rank]: how many (stage, microbatch) may be alive
    on a rank; heads: how many microbatches between S and T; None: no limit.
    """
    chain = _Chain(layout, costs, whole)
    bounds = [max(spell.soonest + spell.seconds + spell.after for row in chain.spells for spell in row)]
    for rank, spells in enumerate(chain.spells):
        bounds += [
            _span([s for s in spells if s.soonest >= start and s.after >= end], microbatches)
            for start in {s.soonest for s in spells}
            for end in {s.after for s in spells}
        ]
        if activations is not None:
            lives = [life for life in chain.lives if life.rank == rank]
            bounds.append(_shared(lives, microbatches, activations[rank]))
        if heads is not None:
            bounds.append(_shared([life for life in chain.heads if life.rank == rank], microbatches, heads))
    return max(bounds)


class _Spell(NamedTuple):
    """A pass, or a stretch of one microbatch's passes: its soonest start, its seconds, and what must follow it, in seconds."""

    rank: int
    soonest: float
    seconds: float
    after: float


def _span(spells: list[_Spell], microbatches: int) -> float:
    """On one rank, one at a time."""
    if not spells:
        return 0.0
    work = microbatches * sum(s.seconds for s in spells)
    return min(s.soonest for s in spells) + work + min(s.after for s in spells)


def _shared(spells: list[_Spell], microbatches: int, most: int) -> float:
    """At most so many at a time."""
    if not spells or microbatches * len(spells) <= most:
        return 0.0
    work = microbatches * sum(s.seconds for s in spells) / most
    return min(s.soonest for s in spells) + work + min(s.after for s in spells)


class _Chain:
    """One microbatch alone. spells[rank]: its passes; lives: from F to the end of W, a stage each; heads: from S to T."""

    def __init__(self, layout: Layout, costs: Costs, whole: bool) -> None:
        self.layout, self.costs, self.whole = layout, costs, whole
        self.seconds = costs.table(layout)
        self.ranks, self.stages = range(layout.ranks), range(layout.last_stage + 1)
        self.spells: list[list[_Spell]] = [[] for _ in self.ranks]
        self.lives: list[_Spell] = []
        self.heads: list[_Spell] = []
        self.backward = Kind.BW if whole else Kind.B
        self.after_b = self._after_backward()

        self._forward_and_backward()

    def _message(self, name: str, source: int, target: int) -> float:
        return self.costs.at(name, source) if source != target else 0.0

    def _hop(self, source: int, target: int) -> float:
        """Between two stages."""
        rank_of = self.layout.rank_of_stage
        return self._message("p2p", rank_of(source), rank_of(target))

    def _after_backward(self) -> list[float]:
        """What must follow each stage's B: W, and the way to stage 0 and G."""
        first = self.layout.first_rank
        rows = 0.0
        if self.layout.barriers:
            rows = max(self._message("embedding", first, r) + self.seconds[Kind.G, r] for r in self.ranks)
        after: list[float] = []
        for stage in self.stages:
            on = (
                rows
                if not stage
                else self._hop(stage, stage - 1) + self.seconds[self.backward, stage - 1] + after[-1]
            )
            after.append(on if self.whole else max(on, self.seconds[Kind.W, stage]))
        return after

    def _slowest(self, kind: Kind) -> float:
        return max(self.seconds[kind, r] for r in self.ranks)

    def _head(self, start: float) -> float:
        """When the last stage's B can start if its F ends at `start`."""
        if not self.layout.barriers:
            return start
        end = start + self.costs.slowest("c0") + self._slowest(Kind.S) + self.costs.slowest("c1")
        if self.layout.barriers == 1:
            return end + self.costs.slowest("u")
        return end + self._slowest(Kind.T) + self.costs.slowest("c2")

    def _add(self, kind: Kind, part: int, soonest: float, after: float) -> None:
        rank = part if kind in (Kind.E, Kind.S, Kind.T, Kind.G) else self.layout.rank_of_stage(part)
        self.spells[rank].append(_Spell(rank, soonest, self.seconds[kind, part], after))

    def _forward_and_backward(self) -> None:
        layout, seconds = self.layout, self.seconds
        first, last = layout.first_rank, layout.last_stage
        begin = 0.0
        if layout.barriers:
            begin = max(seconds[Kind.E, r] + self._message("embedding", r, first) for r in self.ranks)
        starts, now = [], begin
        for stage in self.stages:
            now += self._hop(stage - 1, stage) if stage else 0.0
            starts.append(now)
            now += seconds[Kind.F, stage]
        ends, back = [0.0] * len(starts), self._head(now)  # of B
        for stage in reversed(self.stages):
            back += self._hop(stage + 1, stage) if stage < last else 0.0
            ends[stage] = back = back + seconds[self.backward, stage]
        total = ends[last] + self.after_b[last]  # of the chain from E on
        for stage in self.stages:
            self._add(Kind.F, stage, starts[stage], total - starts[stage] - seconds[Kind.F, stage])
            self._add(self.backward, stage, ends[stage] - seconds[self.backward, stage], self.after_b[stage])
            late = 0.0 if self.whole else seconds[Kind.W, stage]
            if not self.whole:
                self._add(Kind.W, stage, ends[stage], 0.0)
            rank = layout.rank_of_stage(stage)
            after = self.after_b[stage] if self.whole else 0.0
            self.lives.append(_Spell(rank, starts[stage], ends[stage] + late - starts[stage], after))
        if layout.barriers:
            self._vocabulary(now, total, ends[0], starts[0])

    def _vocabulary(self, forward: float, total: float, backward: float, begin: float) -> None:
        """forward: end of the last F; total: of the chain; backward: end of stage 0's B; begin: stage 0's F."""
        layout, costs, seconds = self.layout, self.costs, self.seconds
        first = layout.first_rank
        s = forward + costs.slowest("c0")
        gathered = s + self._slowest(Kind.S) + costs.slowest("c1")
        remaining = total - self._head(forward)  # B of the last stage and what follows
        for r in self.ranks:
            behind = costs.slowest("u") + remaining if layout.barriers == 1 else 0.0
            t = seconds[Kind.T, r]
            after_t = 0.0 if layout.barriers == 1 else costs.slowest("c2") + remaining
            after_s = costs.slowest("c1") + max(
                behind, t, (layout.barriers == 2) * (self._slowest(Kind.T) + after_t)
            )
            self._add(Kind.E, r, 0.0, self._message("embedding", r, first) + total - begin)
            self._add(Kind.S, r, s, after_s)
            self._add(Kind.T, r, gathered, after_t)
            self._add(Kind.G, r, backward + self._message("embedding", first, r), 0.0)
            self.heads.append(_Spell(r, s, seconds[Kind.S, r] + costs.slowest("c1") + t, after_t))
