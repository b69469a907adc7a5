"""Builds schedules of several chunks on a rank with BW in one, wholly or mostly: interleaved-1f1b and dualpipev."""

from __future__ import annotations

from collections import Counter, deque

from pinisi.base.errors import ScheduleError
from pinisi.schedule.builders.registry import builder, in_a_v, looped
from pinisi.schedule.builders.weave import finished
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Kind, Layout, Pass, Schedule


@builder("interleaved-1f1b", chunks=2, stages=looped)
def _interleaved(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    """Interleaved 1F1B (arXiv 2104.04473, section 2.2): groups of p microbatches go chunk by chunk; any number of microbatches."""

    def plain(m: int) -> Schedule:
        order = tuple(tuple(_interleaved_rank(layout, rank, m)) for rank in range(layout.ranks))
        return Schedule("interleaved-1f1b", Layout(layout.stages), m, order)

    return finished(plain, layout, microbatches, costs, period=layout.ranks)


def _interleaved_rank(layout: Layout, rank: int, microbatches: int) -> list[Pass]:
    ranks, stages = layout.ranks, layout.stages[rank]
    forward, backward = [], []
    for start in range(0, microbatches, ranks):
        group = range(start, min(start + ranks, microbatches))
        forward += [Pass(Kind.F, stage, i) for stage in stages for i in group]
        backward += [Pass(Kind.BW, stage, i) for stage in reversed(stages) for i in group]
    # F's ahead of the first BW: two for each rank behind this one, and those of the chunks before the last.
    ahead = min(2 * (ranks - 1 - rank) + (len(stages) - 1) * min(ranks, microbatches), len(forward))
    row = forward[:ahead]
    for at, p in enumerate(backward):
        row += [*forward[ahead + at : ahead + at + 1], p]
    return row


@builder("dualpipev", chunks=2, stages=in_a_v)
def _dualpipev(layout: Layout, microbatches: int, costs: Costs) -> Schedule:
    """DualPipe cut in half and folded to a V (DeepSeek-V3, arXiv 2412.19437, section 3.2.1): p + 1 microbatches alive."""
    if microbatches < 2 * layout.ranks:
        raise ScheduleError(
            f"dualpipev needs at least 2 microbatches per rank, {2 * layout.ranks} for {layout.ranks} ranks, got "
            f"{microbatches}: give more, or use zbv, which takes any number"
        )

    def plain(m: int) -> Schedule:
        order = tuple(tuple(_dualpipev_rank(rank, layout.ranks, m)) for rank in range(layout.ranks))
        return Schedule("dualpipev", Layout(layout.stages), m, order)

    return finished(plain, layout, microbatches, costs)


def _dualpipev_rank(rank: int, ranks: int, microbatches: int) -> list[Pass]:
    """Words: F and B (both gradients in one) of a chunk, I (the input's gradient alone), and W, the oldest one put off by an I."""
    stages, behind = (rank, 2 * ranks - 1 - rank), ranks - 1 - rank
    done: Counter[tuple[Kind, int]] = Counter()
    put_off: deque[Pass] = deque()
    row: list[Pass] = []

    def run(words: str, times: int) -> None:
        for word in words.split() * times:
            if word == "W":
                row.append(put_off.popleft())
                continue
            chunk, forward = int(word[1]), word[0] == "F"
            count = done[Kind.F if forward else Kind.B, chunk]
            done[Kind.F if forward else Kind.B, chunk] += 1
            kind = Kind.F if forward else Kind.BW if word[0] == "B" else Kind.B
            row.append(Pass(kind, stages[chunk], count))
            if kind is Kind.B:
                put_off.append(Pass(Kind.W, stages[chunk], count))

    run("F0", 2 * behind)
    run("F0 F1", rank + 1)
    run("I1 W F1", behind)
    run("F0 B1 F1 B0", microbatches - 2 * ranks + rank + 1)
    run("B1 F1 B0", behind)
    # In the last rank + 1 pairs of backwards the second half puts its W's off; an odd rank starts with chunk 1.
    half = (rank + 1) // 2
    run("B1 B0", half)
    if rank + 1 > half:
        run("I1 I0" if rank % 2 else "B1 I0", 1)
        run("I1 I0", rank - half)
    run("W I0", behind)
    run("W", len(put_off))
    return row
