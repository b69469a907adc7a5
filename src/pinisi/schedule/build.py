"""Builders of schedules by name. A new schedule is one function with `@builder("its-name")`."""

from __future__ import annotations

from collections.abc import Callable

from pinisi.errors import ScheduleError
from pinisi.schedule.arrange import Policy, arrange
from pinisi.schedule.blocks import BuildingBlock
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

Builder = Callable[[Layout, int, Costs], Schedule]
_BUILDERS: dict[str, tuple[Builder, Callable[[int, int], tuple[tuple[int, ...], ...]]]] = {}


def _one_stage_each(ranks: int, chunks: int) -> tuple[tuple[int, ...], ...]:
    if chunks != 1:
        raise ScheduleError(f"chunks = {chunks}: gpipe and 1f1b hold one stage on each rank, so it must be 1")
    return tuple((rank,) for rank in range(ranks))


def builder(name: str, *, chunks: int = 1, stages: Callable[[int, int], tuple] = _one_stage_each) -> Callable:
    """Register a builder (layout, microbatches, costs) -> Schedule; stages(ranks, chunks) places the stages."""

    def register(function: Builder) -> Builder:
        _BUILDERS[name] = (function, stages, chunks)
        return function

    return register


def build(
    name: str,
    ranks: int,
    microbatches: int,
    *,
    chunks: int | None = None,
    barriers: int = 0,
    costs: Costs | None = None,
) -> Schedule:
    """Build a schedule by name.

    costs: what the order is chosen for, in seconds or any other unit; nominal ones where they aren't known.
    Only `1f1b` with 1 or 2 barriers depends on them. Raises ScheduleError for a name or number that can't be.
    """
    if name not in _BUILDERS:
        raise ScheduleError(f"schedule '{name}' is not known: choose one of {', '.join(sorted(_BUILDERS))}")
    for what, value in (("ranks", ranks), ("microbatches", microbatches)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ScheduleError(f"{what} = {value!r}: it must be a whole number of at least 1")
    function, stages, default = _BUILDERS[name]
    layout = Layout(stages(ranks, default if chunks is None else chunks), barriers)
    if costs is not None:
        costs.check(layout)
    return function(layout, microbatches, costs or NOMINAL)


def peak(layout: Layout, microbatches: int, rank: int) -> int:
    """1F1B's most microbatches alive on a rank: p - rank and one more for each barrier (2411.05288, 5.2)."""
    return min(microbatches, layout.ranks - rank + layout.barriers)


@builder("gpipe")
def _gpipe(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    """Every F, then the head microbatch by microbatch (one T behind), then every BW."""
    ranks, m = layout.ranks, microbatches
    if not layout.barriers:
        order = tuple(
            tuple(Pass(kind, r, i) for kind in (Kind.F, Kind.BW) for i in range(m)) for r in range(ranks)
        )
        return Schedule("gpipe", layout, m, order)
    return Schedule("gpipe", layout, m, tuple(tuple(_gpipe_rank(r, ranks, m)) for r in range(ranks)))


def _gpipe_rank(rank: int, ranks: int, m: int) -> list[Pass]:
    passes: list[Pass] = []
    # Stage 0 runs F(i) about `rank` passes before this rank does, and wants the rows of E(i) one pass earlier.
    passes += [Pass(Kind.E, rank, i) for i in range(min(m, rank + 2))]
    for i in range(m):
        passes.append(Pass(Kind.F, rank, i))
        if i + rank + 2 < m:
            passes.append(Pass(Kind.E, rank, i + rank + 2))
    passes.append(Pass(Kind.S, rank, 0))
    for i in range(1, m):
        passes += [Pass(Kind.S, rank, i), Pass(Kind.T, rank, i - 1)]
    passes.append(Pass(Kind.T, rank, m - 1))
    # BW(0, i) ends `rank` passes after this rank's BW(i); one more for the message.
    late = rank + 1 if ranks > 1 and rank else 0
    for i in range(m + late):
        if i < m:
            passes.append(Pass(Kind.BW, rank, i))
        if i >= late:
            passes.append(Pass(Kind.G, rank, i - late))
    return passes


@builder("1f1b")
def _one_f_one_b(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    if not layout.barriers:
        return _block(layout, NOMINAL).unroll("1f1b", microbatches)
    caps = [peak(layout, microbatches, rank) for rank in range(layout.ranks)]
    policies = (Policy(), Policy(lazy=True)) if layout.barriers == 1 else (Policy(),)
    found = [arrange(layout, microbatches, caps, costs, policy) for policy in policies]
    return min(found, key=lambda pair: pair[0])[1]


def _block(layout: Layout, costs: Costs) -> BuildingBlock:
    """1F1B's block: the paper's general method. S at one time on all ranks; BW one interval later per barrier.

    Rank r's BW starts (p - r) (F + BW) + barriers * interval after its F, so that p - r + barriers microbatches
    are alive there.
    """
    p, late = layout.ranks, layout.barriers
    f = max(costs.at("forward", r) for r in range(p))
    bw = max(costs.at("backward", r) + costs.at("weight", r) for r in range(p))
    s, t = (max(costs.at(name, r) for r in range(p)) if late else 0.0 for name in ("head_s", "head_t"))
    interval = f + bw + s + t
    offsets: dict[tuple[Kind, int], float] = {}
    for rank in range(p):
        offsets[Kind.F, rank] = rank * f
        offsets[Kind.BW, rank] = p * f + (p - 1 - rank) * bw + late * interval
        if late:
            offsets[Kind.S, rank] = p * f
            offsets[Kind.T, rank] = p * f + s + interval
            offsets[Kind.E, rank] = -interval
            offsets[Kind.G, rank] = p * f + p * bw + late * interval + (bw if rank else 0)
    return BuildingBlock(layout, interval, offsets)
