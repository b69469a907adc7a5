"""The least makespan over all orders of a step's passes, by constraint programming (OR-Tools CP-SAT).

A yardstick for `search`, so it shares nothing with the code that it judges but the table's types: what waits for what is
written out below. A message takes its time and never queues, a receive is always posted early enough, and a rank may wait on
purpose; so the optimum is never above what any order takes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from ortools.sat.python import cp_model

from pinisi.schedule import Costs, Kind, Layout, Pass

TICKS = 100  # a second's


@dataclass(frozen=True)
class Exact:
    """makespan: of the best order found, in seconds, None if none was; bound: no order is shorter; proved: they are equal."""

    makespan: float | None
    bound: float
    proved: bool


def least_makespan(
    layout: Layout,
    passes: list[list[Pass]],
    costs: Costs,
    activations: list[int],
    heads: list[int | None],
    *,
    seconds: float = 10.0,
) -> Exact:
    """passes[rank]: what the rank runs, in any order. activations[rank]: how many (stage, microbatch) may be alive on the rank.
    heads[rank]: how many microbatches between S and T.

    Times are rounded down to ticks, which can only make the optimum smaller.
    """
    return _Exact(layout, passes, costs, activations, heads).solve(seconds)


class _Exact:
    def __init__(self, layout, passes, costs, activations, heads) -> None:
        self.layout, self.passes, self.costs = layout, passes, costs
        self.model = cp_model.CpModel()
        self.start: dict[Pass, cp_model.IntVar] = {}
        self.end: dict[Pass, cp_model.LinearExpr] = {}
        self.chunk = {
            stage: (rank, c) for rank, held in enumerate(layout.stages) for c, stage in enumerate(held)
        }
        self.horizon = self._horizon()
        self.u = {i: self._time(f"u{i}") for i in self._microbatches()} if layout.barriers == 1 else {}
        for p in (p for row in passes for p in row):
            self.start[p] = self._time(str(p))
            self.end[p] = self.start[p] + self._duration(p)
        for rank, row in enumerate(passes):
            self._rank(rank, row, activations[rank], heads[rank])
        for row in passes:
            for p in row:
                self._depends(p)
        makespan = self._time("makespan")
        for end in self.end.values():
            self.model.add(end <= makespan)
        self.model.minimize(makespan)

    def solve(self, seconds: float) -> Exact:
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = seconds
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        status = solver.solve(self.model)
        found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
        return Exact(
            solver.objective_value / TICKS if found else None,
            solver.best_objective_bound / TICKS,
            status == cp_model.OPTIMAL,
        )

    def _microbatches(self) -> list[int]:
        return sorted({p.microbatch for row in self.passes for p in row})

    def _time(self, name: str) -> cp_model.IntVar:
        return self.model.new_int_var(0, self.horizon, name)

    def _ticks(self, name: str, rank: int, chunk: int = 0) -> int:
        return int(self.costs.at(name, rank, chunk) * TICKS + 1e-6)

    def _collective(self, name: str) -> int:
        return max(self._ticks(name, rank) for rank in range(self.layout.ranks))

    def _duration(self, p: Pass) -> int:
        if p.kind in (Kind.F, Kind.B, Kind.W, Kind.BW):
            rank, chunk = self.chunk[p.part]
            names = {Kind.F: ["forward"], Kind.B: ["backward"], Kind.W: ["weight"]}
            return sum(self._ticks(n, rank, chunk) for n in names.get(p.kind, ["backward", "weight"]))
        name = {Kind.S: "head_s", Kind.T: "head_t", Kind.E: "embedding_forward", Kind.G: "embedding_gradient"}
        return self._ticks(name[p.kind], p.part)

    def _horizon(self) -> int:
        """What everything takes one after the other."""
        messages = sum(self._collective(n) for n in ("p2p", "c0", "c1", "u", "c2", "embedding"))
        return sum(self._duration(p) + messages for row in self.passes for p in row) + 1

    def _rank(self, rank: int, row: list[Pass], activations: int, heads: int | None) -> None:
        """One pass at a time, and no more alive than there may be."""
        model, alone = self.model, []
        for p in row:
            alone.append(model.new_fixed_size_interval_var(self.start[p], self._duration(p), str(p)))
        model.add_no_overlap(alone)
        lives = []
        for p in row:
            if p.kind is Kind.F:
                closing = next(
                    q for q in row if q[1:] == p[1:] and q.kind in (Kind.W, Kind.BW)
                )  # W where B and W are apart
                lives.append((self.start[p], self.end[closing]))
        self._at_most(activations, lives, f"activations{rank}")
        if heads is not None:
            pairs = [(p, Pass(Kind.T, rank, p.microbatch)) for p in row if p.kind is Kind.S]
            self._at_most(heads, [(self.start[s], self.end[t]) for s, t in pairs], f"heads{rank}")
        self._in_order(row)

    def _at_most(self, limit: int, lives: list, name: str) -> None:
        model, intervals = self.model, []
        for at, (start, end) in enumerate(lives):
            size = self._time(f"{name}.{at}")
            intervals.append(model.new_interval_var(start, size, end, f"{name}.{at}"))
        if len(lives) > limit:
            model.add_cumulative(intervals, [1] * len(lives), limit)

    def _in_order(self, row: list[Pass]) -> None:
        """Equal microbatches in order for each (kind, part): nothing is lost.

        Take any order of the passes, and for each (kind, part) give its k-th start in time to microbatch k. A rank's busy
        spans, and how many are alive at a time, stay the same, since passes of one (kind, part) are equally long. What
        waits for what always joins passes of one microbatch: if x_i + d <= y_i for every i, the k-th smallest x, plus d, is
        at most the k-th smallest y (each of the k smallest y has an x of its own at least d before it). So every need
        holds again. Where microbatches differ in their kinds (dualpipev has B and W apart for some)
        this holds among those of one form only.
        """
        form: dict[int, frozenset] = {}
        for i in self._microbatches():
            form[i] = frozenset((p.kind, p.part) for r in self.passes for p in r if p.microbatch == i)
        groups: dict[tuple, list[Pass]] = defaultdict(list)
        for p in sorted(row, key=lambda p: p.microbatch):
            groups[p.kind, p.part, form[p.microbatch]].append(p)
        for group in groups.values():
            for before, after in pairwise(group):
                self.model.add(self.start[after] >= self.end[before])

    def _after(self, p: Pass, source: Pass, lag: int) -> None:
        self.model.add(self.start[p] >= self.end[source] + lag)

    def _depends(self, p: Pass) -> None:
        """What p waits for."""
        layout, (kind, part, i) = self.layout, p
        everywhere = range(layout.ranks)
        if kind is Kind.F and part > 0:
            self._after(p, Pass(Kind.F, part - 1, i), self._hop(part - 1, part))
        elif kind is Kind.F and layout.barriers:
            for r in everywhere:
                remote = r != self.chunk[0][0]
                self._after(p, Pass(Kind.E, r, i), self._ticks("embedding", r) if remote else 0)
        elif kind in (Kind.B, Kind.BW):
            self._after(p, Pass(Kind.F, part, i), 0)
            if part < len(self.chunk) - 1:
                self._after(p, self._backward(part + 1, i), self._hop(part + 1, part))
            elif layout.barriers == 1:
                self.model.add(self.start[p] >= self.u[i] + self._collective("u"))
                for r in everywhere:
                    self.model.add(self.u[i] >= self.end[Pass(Kind.S, r, i)] + self._collective("c1"))
            elif layout.barriers == 2:
                for r in everywhere:
                    self._after(p, Pass(Kind.T, r, i), self._collective("c2"))
        elif kind is Kind.W:
            self._after(p, Pass(Kind.B, part, i), 0)
        elif kind is Kind.S:
            self._after(p, Pass(Kind.F, len(self.chunk) - 1, i), self._collective("c0"))
        elif kind is Kind.T:
            for r in everywhere:
                self._after(p, Pass(Kind.S, r, i), self._collective("c1"))
        elif kind is Kind.G:
            first = self.chunk[0][0]
            self._after(p, self._backward(0, i), self._ticks("embedding", first) if part != first else 0)

    def _hop(self, source: int, target: int) -> int:
        """A message between two stages; none if one rank holds both."""
        sender, receiver = self.chunk[source][0], self.chunk[target][0]
        return self._ticks("p2p", sender) if sender != receiver else 0

    def _backward(self, stage: int, i: int) -> Pass:
        apart = Pass(Kind.B, stage, i)
        return apart if apart in self.start else Pass(Kind.BW, stage, i)
