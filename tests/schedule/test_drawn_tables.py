"""Any order that can be run is lowered to a program that runs: drawn tables with several stages on a rank in any
placement, B and W apart or in one, and 0, 1 or 2 barriers."""

import random
from dataclasses import replace

import pytest

from pinisi.errors import ScheduleError
from pinisi.schedule import Costs, Kind, Layout, Pass, Schedule, simulate, verify


def ready(p: Pass, done: set[tuple[str, int, int]], layout: Layout) -> bool:
    """Whether all that p waits for is done; written out by hand, nothing is shared with `needs`."""
    kind, part, i = p
    ranks, last, barriers = len(layout.stages), sum(map(len, layout.stages)) - 1, layout.barriers

    def everywhere(letter):
        return all((letter, rank, i) in done for rank in range(ranks))

    match kind:
        case "E":
            return True
        case "F":
            return ("F", part - 1, i) in done if part else not barriers or everywhere("E")
        case "S":
            return ("F", last, i) in done
        case "T":
            return everywhere("S")
        case "W":
            return ("B", part, i) in done
        case "G":
            return ("B", 0, i) in done
    if part < last:
        return ("F", part, i) in done and ("B", part + 1, i) in done
    return ("F", part, i) in done and (not barriers or everywhere("S" if barriers == 1 else "T"))


def letters(p: Pass):
    return [(letter, p.part, p.microbatch) for letter in ("BW" if p.kind == "BW" else p.kind)]


def runs(schedule: Schedule) -> bool:
    """Whether ranks that run their rows in order, messages being instant, all come to the end."""
    done: set[tuple[str, int, int]] = set()
    at = [0] * len(schedule.order)
    moved = True
    while moved:
        moved = False
        for rank, row in enumerate(schedule.order):
            while at[rank] < len(row) and ready(row[at[rank]], done, schedule.layout):
                done.update(letters(row[at[rank]]))
                at[rank] += 1
                moved = True
    return all(a == len(row) for a, row in zip(at, schedule.order, strict=True))


def drawn(seed: int, barriers: int) -> Schedule:
    """Stages dealt to ranks at random; passes taken at random of those that are ready."""
    draw = random.Random(seed)
    ranks, microbatches = draw.randint(1, 4), draw.randint(1, 5)
    deal = [rank for rank in range(ranks) for _ in range(draw.randint(1, 3))]
    draw.shuffle(deal)
    held = tuple(tuple(s for s, rank in enumerate(deal) if rank == r) for r in range(ranks))
    layout = Layout(held, barriers)
    left: list[Pass] = []
    for i in range(microbatches):
        for stage in range(len(deal)):
            apart = draw.random() < 0.6
            kinds = (Kind.F, Kind.B, Kind.W) if apart else (Kind.F, Kind.BW)
            left += [Pass(kind, stage, i) for kind in kinds]
        kinds = (Kind.E, Kind.S, Kind.T, Kind.G) if barriers else ()
        left += [Pass(kind, rank, i) for kind in kinds for rank in range(ranks)]
    # Some kinds are put off, or taken first: near to gpipe, to 1F1B, to T as filler, and all between.
    liking = {kind: draw.random() ** 2 for kind in Kind}
    done: set[tuple[str, int, int]] = set()
    order: list[list[Pass]] = [[] for _ in range(ranks)]
    while left:
        able = [p for p in left if ready(p, done, layout)]
        p = draw.choices(able, [0.01 + liking[p.kind] for p in able])[0]
        left.remove(p)
        done.update(letters(p))
        order[layout.rank_of(p)].append(p)
    return Schedule("drawn", layout, microbatches, tuple(map(tuple, order)))


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_what_can_be_run_is_verified_and_simulated(barriers):
    for seed in range(150):
        schedule = drawn(seed, barriers)
        verify(schedule)
        timeline = simulate(
            schedule, Costs(1.0, 1.5, 0.5, 0.25, 0.25, 0.1, 0.1, 0.01, 0.02, 0.02, 0.02, 0.02, 0.01)
        )
        ends: dict[tuple[str, int, int], float] = {}
        for spans in timeline.spans:
            for p, _, end in spans:
                ends.update(dict.fromkeys(letters(p), end))
        for rank, spans in enumerate(timeline.spans):
            assert [p for p, _, _ in spans] == list(schedule.order[rank])
            for p, start, _ in spans:
                there = {given for given, end in ends.items() if end <= start + 1e-9}
                assert ready(p, there, schedule.layout), f"seed {seed}: {p}"


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_two_passes_swapped_are_judged_by_hand(barriers):
    verdicts = set()
    for seed in range(8):
        schedule = drawn(1000 + seed, barriers)
        for rank, row in enumerate(schedule.order):
            for at in range(len(row) - 1):
                row_ = (*row[:at], row[at + 1], row[at], *row[at + 2 :])
                mutant = replace(schedule, order=(*schedule.order[:rank], row_, *schedule.order[rank + 1 :]))
                try:
                    verify(mutant)
                    accepted = True
                except ScheduleError:
                    accepted = False
                assert accepted == runs(mutant), f"seed {seed}, rank {rank}: {row[at]} and {row[at + 1]}"
                verdicts.add(accepted)
    assert verdicts == {True, False}
