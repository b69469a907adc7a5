"""Makes building blocks of waves: F and B run over the stages at a fixed hop a stage, F = B = W = one slot.

A microbatch's F goes through the stages in legs (one, or for a V down the ranks and up again), then B back through them. On one
rank the passes of a block stand in different slots modulo the interval, so every slot is taken and the steady state has no
bubble; the hops decide how long a microbatch lives on a rank, and so the memory (arXiv 2405.15362, section 3: the sum of the
lifespans over the interval is the peak).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

from pinisi.schedule.builders.blocks import BuildingBlock
from pinisi.schedule.table import Kind, Layout


def wave_block(
    layout: Layout, hops: Iterable[Sequence[int]], late: Callable[[int], int] = lambda rank: 0
) -> BuildingBlock:
    """The block of `layout` (0 barriers) whose F and B take hops[i] slots a stage in leg i: F's legs in order, then B's.

    late(rank): by how many intervals W comes after the first free slot behind its B. Of all `hops`, and of all waits at the
    turns from one leg to the next, those are taken with which the fewest microbatches are alive, then the shortest.
    """
    legs = _legs(layout)
    interval = 3 * max(len(stages) for stages in layout.stages)
    best: tuple[tuple[float, int], dict[tuple[Kind, int], int]] | None = None
    for hop, waits in product(hops, product(range(interval), repeat=len(legs) - 1)):
        offsets = _chain(legs, hop, waits)
        slots = _slots(layout, offsets, interval)
        if slots is None:
            continue  # two passes of a rank want one slot
        _add_weights(layout, offsets, slots, interval, late)
        value = (peak(layout, offsets, interval), max(offsets.values()))
        if best is None or value < best[0]:
            best = value, offsets
    assert best is not None, "no waits fit these hops"
    return BuildingBlock(layout, float(interval), {key: float(time) for key, time in best[1].items()})


def peak(layout: Layout, offsets: Mapping[tuple[Kind, int], int], interval: int) -> float:
    """Most activations alive on a rank in the steady state, in microbatches of its whole share of layers."""

    def alive(stages: Sequence[int], time: int) -> int:
        lives = ((offsets[Kind.F, stage], offsets[Kind.W, stage] + 1) for stage in stages)
        return sum((time - start) // interval - (time - end) // interval for start, end in lives)

    return max(max(alive(stages, time) for time in range(interval)) / len(stages) for stages in layout.stages)


def _legs(layout: Layout) -> list[list[tuple[Kind, int]]]:
    """Runs of stages between whose neighbours the rank changes; first F's, then B's."""
    runs: list[list[int]] = [[0]]
    for stage in range(1, layout.last_stage + 1):
        if layout.rank_of_stage(stage) == layout.rank_of_stage(stage - 1):
            runs.append([])
        runs[-1].append(stage)
    forward = [[(Kind.F, stage) for stage in run] for run in runs]
    return forward + [[(Kind.B, stage) for stage in reversed(run)] for run in reversed(runs)]


def _chain(
    legs: list[list[tuple[Kind, int]]], hops: Sequence[int], waits: Sequence[int]
) -> dict[tuple[Kind, int], int]:
    offsets: dict[tuple[Kind, int], int] = {}
    time = 0
    for leg, hop, wait in zip(legs, hops, (0, *waits), strict=True):
        time += wait
        for at, key in enumerate(leg):
            offsets[key] = time + at * hop
        time = offsets[leg[-1]] + 1
    return offsets


def _slots(layout: Layout, offsets: dict[tuple[Kind, int], int], interval: int) -> list[set[int]] | None:
    """The slots taken on each rank, None if two passes want one."""
    slots: list[set[int]] = [set() for _ in layout.stages]
    for (_, stage), time in offsets.items():
        taken = slots[layout.rank_of_stage(stage)]
        if time % interval in taken:
            return None
        taken.add(time % interval)
    return slots


def _add_weights(
    layout: Layout,
    offsets: dict[tuple[Kind, int], int],
    slots: list[set[int]],
    interval: int,
    late: Callable[[int], int],
) -> None:
    for rank, stages in enumerate(layout.stages):
        for stage in sorted(stages, key=lambda s: offsets[Kind.B, s]):
            time = offsets[Kind.B, stage] + 1
            while time % interval in slots[rank]:
                time += 1
            slots[rank].add(time % interval)
            offsets[Kind.W, stage] = time + late(rank) * interval
