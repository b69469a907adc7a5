"""Finds an order of 1F1B with vocabulary passes by running it against a clock under a cap on activations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pinisi.schedule.clock import Clock
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout, Pass, Schedule


class Policy(NamedTuple):
    """What a rank prefers when several passes could start."""

    deferred: int = 2  # 1 barrier: most T alive on a rank; one more S waits until a T has run
    lazy: bool = False  # 1 barrier: T only fills idle time (up to `deferred`), else it runs right after an S
    lead: int = 2  # E runs once stage 0 has started the F of that many microbatches before


@dataclass
class _Arranger:
    """Chooses each rank's next pass; `order` is what it chose."""

    layout: Layout
    caps: list[int]
    policy: Policy
    order: list[list[Pass]] = field(init=False)

    def __post_init__(self) -> None:
        ranks = self.layout.ranks
        self.order = [[] for _ in range(ranks)]
        self.alive, self.unturned, self.begun = [0] * ranks, [0] * ranks, 0

    def __call__(self, rank: int, now: float, possible: set[Pass]) -> Pass | None:
        first: dict[Kind, Pass] = {}
        for p in possible:
            if p.kind not in first or p.microbatch < first[p.kind].microbatch:
                first[p.kind] = p
        if Kind.F in first and self.alive[rank] >= self.caps[rank]:
            del first[Kind.F]
        if Kind.E in first and first[Kind.E].microbatch >= self.begun + self.policy.lead:
            del first[Kind.E]
        for kind in self._wishes(rank):
            if kind in first:
                return self._take(rank, first[kind])
        return None

    def _wishes(self, rank: int) -> tuple[Kind, ...]:
        """Kinds by preference. S first: every rank waits for it. BW before F: it frees an activation."""
        if self.layout.barriers == 2:
            return Kind.E, Kind.T, Kind.S, Kind.G, Kind.BW, Kind.F
        if self.unturned[rank] >= self.policy.deferred:
            return Kind.E, Kind.T, Kind.G, Kind.BW, Kind.F
        after_s = bool(self.order[rank]) and self.order[rank][-1].kind is Kind.S
        if after_s and not self.policy.lazy and self.unturned[rank] > 1:
            return Kind.E, Kind.T, Kind.S, Kind.G, Kind.BW, Kind.F
        return Kind.E, Kind.S, Kind.G, Kind.BW, Kind.F, Kind.T

    def _take(self, rank: int, p: Pass) -> Pass:
        self.order[rank].append(p)
        self.alive[rank] += (p.kind is Kind.F) - (p.kind is Kind.BW)
        self.unturned[rank] += (p.kind is Kind.S) - (p.kind is Kind.T)
        if p.kind is Kind.F and p.part == 0:
            self.begun = p.microbatch + 1
        return p


def arrange(
    layout: Layout, microbatches: int, caps: list[int], costs: Costs, policy: Policy
) -> tuple[float, Schedule]:
    """Return (makespan of the model in `Clock`, schedule); caps[rank] bounds the microbatches alive there."""
    passes = [
        Pass(kind, part, i)
        for i in range(microbatches)
        for part in range(layout.ranks)
        for kind in (Kind.E, Kind.F, Kind.S, Kind.T, Kind.BW, Kind.G)
    ]
    clock, chooser = Clock(passes, layout, costs), _Arranger(layout, caps, policy)
    while len(clock.end) < len(passes):
        before = len(clock.end)
        clock.run(chooser)
        assert len(clock.end) > before, "the policy waits for a pass that nothing will start"
    order = tuple(tuple(passes) for passes in chooser.order)
    return max(clock.end.values()), Schedule("1f1b", layout, microbatches, order)
