"""Builds gpipe and 1f1b: one stage on each rank, BW in one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from pinisi.schedule.builders.blocks import BuildingBlock
from pinisi.schedule.builders.extend import LARGE, of_any_length
from pinisi.schedule.builders.fill import filled
from pinisi.schedule.builders.periodic import blocks
from pinisi.schedule.builders.registry import builder
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.execution.simulate import simulate
from pinisi.schedule.table import Kind, Layout, Pass, Schedule


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
    # Stage 0 runs F(i) about `rank` passes before this rank does, and wants the rows of E(i) one pass
    # earlier.
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
    """With vocabulary passes: of the blocks that `periodic` finds, as they are and with the step's ends filled, one that
    `simulate` says is fast."""
    if not layout.barriers:
        return _plain_block(layout).unroll("1f1b", microbatches)
    return one_f_one_b(layout, microbatches, costs, fill=True)


def one_f_one_b(layout: Layout, microbatches: int, costs: Costs, *, fill: bool) -> Schedule:
    """1F1B with vocabulary passes. fill=False: as 2411.05288 has it, a block that is repeated and no more."""
    return of_any_length(lambda m: _best_block(layout, m, costs, fill), layout.ranks, microbatches)


def _best_block(layout: Layout, microbatches: int, costs: Costs, fill: bool) -> Schedule:
    caps = [layout.ranks - rank + layout.barriers for rank in range(layout.ranks)]
    given = costs.positive(layout)
    large = layout.ranks * microbatches > LARGE
    enough = (1.01 if large else 1.004) * _ideal(layout, microbatches, costs)
    best, shortest = None, math.inf
    for chosen_for, block in _candidates(layout, given, caps):
        plain = replace(block.unroll("1f1b", microbatches), costs=chosen_for)
        for trial in _trials(plain, given) if fill else (plain,):
            makespan = simulate(trial, given).makespan
            if makespan < shortest:
                best, shortest = trial, makespan
            if shortest <= enough:
                return trial
    assert best is not None
    return best


def _trials(plain: Schedule, costs: Costs) -> Iterator[Schedule]:
    """The most promising first."""
    for patient in (True, False):
        full = filled(plain, costs, patient=patient)
        if full is not plain:
            yield full
    yield plain


def _candidates(layout: Layout, given: Costs, caps: list[int]) -> Iterator[tuple[Costs, BuildingBlock]]:
    """Blocks for nominal costs first: their order has proved good for heads from 3 % to 50 % of an interval."""
    for chosen_for in (NOMINAL, given):
        for block in blocks(layout, chosen_for, caps):
            yield chosen_for, block


def _ideal(layout: Layout, microbatches: int, costs: Costs) -> float:
    """No bubble but the fill: the busiest rank's passes, the other ranks' F and BW once, the head's
    messages."""
    ranks = range(1, layout.ranks)
    fill = sum(costs.at(name, r) for name in ("forward", "backward", "weight", "p2p", "p2p") for r in ranks)
    second = ("u",) if layout.barriers == 1 else ("c2",)
    head = sum(costs.slowest(name) for name in ("embedding", "c0", "c1", *second))
    return microbatches * costs.busiest(layout) + fill + head


def _plain_block(layout: Layout) -> BuildingBlock:
    """1F1B without vocabulary passes: rank r holds p - r microbatches, whatever the costs."""
    p, offsets = layout.ranks, {}
    for rank in range(p):
        offsets[Kind.F, rank] = float(rank)
        offsets[Kind.BW, rank] = float(p + 2 * (p - 1 - rank))  # BW = 2 F
    return BuildingBlock(layout, 3.0, offsets)
