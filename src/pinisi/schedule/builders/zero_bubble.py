"""Builds schedules that run B and W apart: zb-h1, zb-2p (arXiv 2401.10241), zbv, v-half, v-min (arXiv 2405.15362).

All but zbv are building blocks of waves (`waves`): the hops set the memory. zbv, which has no bubble but the fill, is made of
phases. Peak activations with 0 barriers, in microbatches: zb-h1 p, zb-2p 2p - 1, zbv p, v-half p/2 + 1 (p even), v-min about
p/3 + 1; each barrier adds one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from pinisi.schedule.builders.registry import builder, in_a_v
from pinisi.schedule.builders.waves import wave_block
from pinisi.schedule.builders.weave import finished
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

_HALF = ((1, 2, 1, 2), (2, 1, 1, 2))  # two thirds of a slot less than zbv's: half of its lifespans


@builder("zb-h1")
def _zb_h1(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    """1F1B's waves; rank r may put off r W's, so that every rank holds p microbatches, as rank 0 does anyway."""
    return _waves("zb-h1", layout, microbatches, costs, ((1, 2),), lambda rank: rank)


@builder("zb-2p")
def _zb_2p(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    """Twice as many forwards ahead as in 1F1B, so that B never waits."""
    return _waves("zb-2p", layout, microbatches, costs, ((3, 3),), lambda rank: 2 * rank)


@builder("v-half", chunks=2, stages=in_a_v)
def _v_half(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    return _waves("v-half", layout, microbatches, costs, _HALF)


@builder("v-min", chunks=2, stages=in_a_v)
def _v_min(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    return _waves("v-min", layout, microbatches, costs, ((1, 1, 1, 1),))


def _waves(
    name: str,
    layout: Layout,
    microbatches: int,
    costs: Costs,
    hops: Sequence[Sequence[int]],
    late: Callable[[int], int] = lambda rank: 0,
) -> Schedule:
    block = wave_block(Layout(layout.stages), hops, late)
    return finished(lambda m: block.unroll(name, m), layout, microbatches, costs)


@builder("zbv", chunks=2, stages=in_a_v)
def _zbv(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    def plain(m: int) -> Schedule:
        order = tuple(tuple(_zbv_rank(rank, layout.ranks, m)) for rank in range(layout.ranks))
        return Schedule("zbv", Layout(layout.stages), m, order)

    return finished(plain, layout, microbatches, costs)


def _zbv_rank(rank: int, ranks: int, microbatches: int) -> list[Pass]:
    """The rank's phases: F's until the first microbatch is back, then one F, B and W of each chunk in turn, then what is left,
    W last. A step shorter than 2p - 1 microbatches is the longer one without those that aren't there."""
    stages, total = (rank, 2 * ranks - 1 - rank), max(microbatches, 2 * ranks - 1)
    done: Counter[tuple[Kind, int]] = Counter()
    row: list[Pass] = []

    def run(words: str, times: int) -> None:
        for word in words.split() * times:
            kind, chunk = Kind(word[0]), int(word[1])
            if done[kind, chunk] < microbatches:
                row.append(Pass(kind, stages[chunk], done[kind, chunk]))
            done[kind, chunk] += 1

    run("F0", 2 * (ranks - rank) - 1)
    run("F1 F0", rank)
    run("F1 B1 W1", ranks - rank)
    run("F0 B0 W0 F1 B1 W1", total - done[Kind.F, 1])
    run("B0 B1", rank)
    run("B0 W0", ranks - rank)
    run("W1", total - done[Kind.W, 1])
    run("W0", total - done[Kind.W, 0])
    return row
