"""Any order that can be run is lowered to a program that runs: drawn tables with several stages on a rank in any
placement, B and W apart or in one, 0, 1 or 2 barriers, and drawn costs."""

import random
from dataclasses import replace

import pytest

from pinisi.schedule import Costs, Kind, Layout, Pass, Schedule, lower, simulate, verify
from pinisi.schedule.execution.verify import verify_program
from tests.effort import FULL
from tests.schedule.strict import Strict, accepts, letters, shape_of, table_runs, waits_for


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
        able = [p for p in left if waits_for(p, shape_of(layout)) <= done]
        p = draw.choices(able, [0.01 + liking[p.kind] for p in able])[0]
        left.remove(p)
        done.update(letters(p))
        order[layout.rank_of(p)].append(p)
    return Schedule("drawn", layout, microbatches, tuple(map(tuple, order)))


def drawn_costs(draw: random.Random, layout: Layout) -> Costs:
    """Ratios of a hundred between passes, and messages that take up to several passes."""

    def times(low, high):
        return [draw.uniform(low, high) ** 2 for _ in layout.stages]

    messages = {name: draw.uniform(0, 2) ** 2 for name in ("p2p", "c0", "c1", "u", "c2", "embedding")}
    return Costs(times(0.1, 1), times(0.1, 1.5), times(0, 1), times(0, 1), times(0, 1), 0.1, 0.1, **messages)


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_what_can_be_run_is_verified_and_simulated(barriers):
    for seed in range(150):
        schedule = drawn(seed, barriers)
        verify(schedule)
        shape = shape_of(schedule.layout)
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
                late = [source for source in waits_for(p, shape) if ends[source] > start + 1e-9]
                assert not late, f"seed {seed}: {p} starts before {late}"


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_what_can_be_run_runs_strictly_whatever_costs_it_was_lowered_by(barriers):
    for seed in range(500, 620):
        schedule, draw = drawn(seed, barriers), random.Random(seed)
        for costs in (None, drawn_costs(draw, schedule.layout)):
            program = lower(schedule, costs)
            verify_program(program)
            assert Strict(program, draw).verdict() == "ran", f"seed {seed}"


def changed(schedule: Schedule, draw: random.Random):
    """Every two neighbours swapped, and as often a pass moved to any other place of its row."""
    for rank, row in enumerate(schedule.order):
        for at in range(len(row) - 1):
            far = list(row)
            far.insert(draw.randrange(len(row)), far.pop(at))
            for row_ in ((*row[:at], row[at + 1], row[at], *row[at + 2 :]), tuple(far)):
                order = (*schedule.order[:rank], row_, *schedule.order[rank + 1 :])
                yield f"rank {rank}, {at}: {row[at]}", replace(schedule, order=order)


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_passes_swapped_or_moved_are_judged_as_they_run(barriers):
    verdicts = []
    for seed in range(1000, 1008 if FULL else 1003):
        for where, mutant in changed(drawn(seed, barriers), random.Random(seed)):
            runs = table_runs(mutant)
            assert accepts(verify, mutant) == runs, f"seed {seed}, {where}"
            if runs:
                assert Strict(lower(mutant)).verdict() == "ran", f"seed {seed}, {where}"
            verdicts.append(runs)
    print(f"{barriers} barriers, drawn: {sum(verdicts)} of {len(verdicts)} accepted")
    assert 20 < sum(verdicts) < len(verdicts) - 20
