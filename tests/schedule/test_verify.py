"""verify against hand-written readiness and a strict runtime: adjacent swaps of every row, instructions swapped, moved or
taken away; all of them, and four ranks too, in `make bench`. `pytest -s` prints how many mutants there were."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, Message, Op, Pass, Program, build, lower, names, simulate, verify
from pinisi.schedule.execution.verify import verify_program
from pinisi.schedule.pipelining import read_csv
from tests.effort import FULL
from tests.schedule.strict import Strict, accepts, table_runs
from tests.schedule.test_pipelining import torch_csv, torch_schedule

TABLES = [(n, barriers) for n in names() for barriers in (0, 1, 2) if barriers or n != "interlaced"]


def sizes(name, cases):
    """Ranks and microbatches; dualpipev takes no fewer microbatches than two a rank."""
    return [(p, max(m, 2 * p) if name == "dualpipev" else m) for p, m in cases]


def with_row(rows, rank, row):
    return (*rows[:rank], tuple(row), *rows[rank + 1 :])


def swaps(rows):
    """(where, rows with two neighbours exchanged), for every pair of neighbours of every row; or a third of them."""
    for rank, row in enumerate(rows):
        for at in range(0 if FULL else rank % 3, len(row) - 1, 1 if FULL else 3):
            changed = (*row[:at], row[at + 1], row[at], *row[at + 2 :])
            yield f"rank {rank}, {at}: {row[at]} and {row[at + 1]}", with_row(rows, rank, changed)


def judge_table(mutant, where) -> bool:
    """verify's verdict, which must be that of the table by hand; what it lets through must run."""
    runs = table_runs(mutant)
    assert accepts(verify, mutant) == runs, where
    if runs:
        assert Strict(lower(mutant)).verdict() == "ran", where
    return runs


def judge_program(mutant, where) -> bool:
    verdict = Strict(mutant).verdict()
    assert accepts(verify_program, mutant) == (verdict == "ran"), f"{where}: {verdict}"
    return verdict == "ran"


def report(what, verdicts, accepted, rejected):
    """So that the test can't pass on nothing: at least so many of both verdicts."""
    found = sum(verdicts), len(verdicts) - sum(verdicts)
    print(f"{what}: {found[0]} accepted, {found[1]} rejected")
    assert found[0] >= accepted
    assert found[1] >= rejected


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_every_table_with_two_passes_swapped_is_judged_as_it_runs(name, barriers):
    verdicts = []
    for ranks, microbatches in sizes(name, [(2, 3), (3, 4), *([(4, 5)] if FULL else [])]):
        schedule = build(name, ranks, microbatches, barriers=barriers)
        assert judge_table(schedule, "unchanged")
        for where, order in swaps(schedule.order):
            verdicts.append(judge_table(replace(schedule, order=order), f"{ranks} ranks, {where}"))
    report(f"{name}, {barriers} barriers, tables", verdicts, 40 if FULL else 3, 1)


@pytest.mark.parametrize(
    "case",
    [("ZBVZeroBubble", 3, 2, 7), ("DualPipeV", 4, 2, 10), ("InterleavedZeroBubble", 3, 2, 6)],
    ids=lambda case: "-".join(map(str, case)),
)
def test_torchs_tables_with_two_passes_swapped_are_judged_as_they_run(case):
    schedule = read_csv(torch_csv(torch_schedule(*case)), case[0])
    verdicts = [judge_table(replace(schedule, order=order), where) for where, order in swaps(schedule.order)]
    report(f"{case[0]} of torch, tables", verdicts, 50 if FULL else 15, 10 if FULL else 3)


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_every_program_with_two_instructions_swapped_is_judged_as_it_runs(name, barriers):
    verdicts = []
    for ranks, microbatches in sizes(name, [(2, 3), (3, 2)]):
        program = lower(build(name, ranks, microbatches, barriers=barriers))
        for where, rows in swaps(program.instructions):
            verdicts.append(judge_program(replace(program, instructions=rows), f"{ranks} ranks, {where}"))
    report(f"{name}, {barriers} barriers, programs", verdicts, 25 if FULL else 8, 20 if FULL else 6)


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_every_program_that_lacks_an_instruction_is_rejected(name, barriers):
    """A missing WAIT or post must never pass: it is a race or a hang; a missing pass is a missing gradient."""
    ranks, microbatches = sizes(name, [(3, 2)])[0]
    program = lower(build(name, ranks, microbatches, barriers=barriers))
    for rank, code in enumerate(program.instructions):
        for at, lacking in list(enumerate(code))[:: 1 if FULL else 2]:
            rows = with_row(program.instructions, rank, code[:at] + code[at + 1 :])
            assert not judge_program(replace(program, instructions=rows), f"rank {rank}: {lacking}")


def moved(program: Program, draw: random.Random) -> tuple[str, Program]:
    """One instruction of a rank somewhere else, up to a dozen places away."""
    rank = draw.randrange(len(program.instructions))
    code = list(program.instructions[rank])
    source = draw.randrange(len(code))
    instruction = code.pop(source)
    target = max(0, min(len(code), source + draw.randint(-12, 12)))
    code.insert(target, instruction)
    rows = with_row(program.instructions, rank, code)
    return f"rank {rank}: {instruction} from {source} to {target}", replace(program, instructions=rows)


def exchanges(program: Program):
    """Two neighbours in the global order of collectives change places on all ranks, which agree still: what then hangs
    or corrupts does so for other reasons."""
    for pair in pairwise(program.collectives):
        other = dict(zip(pair, reversed(pair), strict=True))
        rows = tuple(
            tuple(x._replace(what=other.get(x.what, x.what)) if x.op is Op.LAUNCH else x for x in code)
            for code in program.instructions
        )
        collectives = tuple(other.get(message, message) for message in program.collectives)
        yield (
            f"{pair[0]} and {pair[1]}",
            replace(program, instructions=rows, collectives=collectives),
        )


@pytest.mark.parametrize("barriers", [1, 2])
def test_collectives_that_change_places_on_all_ranks_are_judged_as_they_run(barriers):
    verdicts = []
    for name in names():
        for ranks, microbatches in sizes(name, [(2, 3), (3, 5), (4, 6)]):
            program = lower(build(name, ranks, microbatches, barriers=barriers))
            for where, mutant in exchanges(program):
                verdicts.append(judge_program(mutant, f"{name}, {ranks} ranks, {where}"))
    report(f"{barriers} barriers, collectives on all ranks", verdicts, 0, 200)


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_instructions_that_move_far_are_judged_as_they_run(barriers):
    draw, verdicts = random.Random(barriers), []
    for name in (name for name, found in TABLES if found == barriers):
        for ranks, microbatches in sizes(name, [(2, 4), (4, 4)]):
            program = lower(build(name, ranks, microbatches, barriers=barriers))
            for _ in range(30):
                where, mutant = moved(program, draw)
                verdicts.append(judge_program(mutant, f"{name}, {ranks} ranks, {where}"))
    report(f"{barriers} barriers, moves", verdicts, 100, 200)


@pytest.mark.parametrize(("name", "barriers"), [("1f1b", 1), ("zbv", 2), ("interleaved-1f1b", 1)])
def test_the_strict_runtime_doesnt_depend_on_whose_turn_it_is(name, barriers):
    draw = random.Random(5)
    program = lower(build(name, 3, 4, barriers=barriers))
    for mutant in [program] + [moved(program, draw)[1] for _ in range(25)]:
        assert len({Strict(mutant, turns).runs() for turns in (None, draw, draw)}) == 1


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_receives_are_posted_a_long_pass_ahead(name, barriers):
    """With rendezvous sends a message moves only once both ends have posted it, so one that is received just in time
    runs on no GPU beside a pass."""
    ranks, microbatches = sizes(name, [(4, 5)])[0]
    for code in lower(build(name, ranks, microbatches, barriers=barriers)).instructions:
        passes = 0  # F, B, W and BW so far
        posted: dict[Message, int] = {}
        for op, what in code:
            if op is Op.RUN:
                passes += what.kind in (Kind.F, Kind.B, Kind.W, Kind.BW)
            elif op is Op.RECEIVE:
                posted[what] = passes
            elif op is Op.WAIT and what in posted:
                assert posted[what] < passes or not passes, f"{what} is received just in time"


def test_a_hang_names_rank_step_pass_and_marks_the_table():
    schedule = build("1f1b", 2, 3)
    row = schedule.order[1]
    first, second = row.index(Pass(Kind.F, 1, 0)), row.index(Pass(Kind.BW, 1, 0))
    bad = list(row)
    bad[first], bad[second] = bad[second], bad[first]
    with pytest.raises(ScheduleError) as error:
        verify(replace(schedule, order=(schedule.order[0], tuple(bad))))
    text = str(error.value)
    assert "rank 1, step 0: 1BW0 waits for 1F0 (STASH)" in text
    assert ">1BW0<" in text


def test_incomplete_and_misplaced_tables_are_named():
    schedule = build("1f1b", 2, 3, barriers=1)
    zero, one = schedule.order

    def message(*order):
        with pytest.raises(ScheduleError) as error:
            verify(replace(schedule, order=order))
        return str(error.value)

    assert "rank 0 never runs" in message(zero[:-1], one)
    assert "rank 0, step 1" in message((zero[0], zero[0], *zero[1:]), one) and "there before" in message(
        (zero[0], zero[0], *zero[1:]), one
    )
    assert "belongs on rank 1" in message((*zero, one[-1]), one[:-1])
    assert "microbatch isn't below 3" in message((*zero, Pass(Kind.F, 0, 3)), one)
    assert "1 rows for 2 ranks" in message(zero)


@pytest.mark.parametrize("name", ["1f1b", "v-half", "interleaved-1f1b"])
@pytest.mark.parametrize("barriers", [0, 1])
def test_a_cap_of_activations_is_the_timelines_peak(name, barriers):
    schedule = build(name, 4, 9, barriers=barriers)
    line = simulate(schedule, Costs(1.0, 1.0, 1.0, head_s=0.1, head_t=0.1))
    peaks = [line.peak_activation(rank) for rank in range(4)]
    verify(schedule, activations=max(peaks))
    with pytest.raises(ScheduleError) as error:
        verify(schedule, activations=max(peaks) - 0.5)
    fullest = peaks.index(max(peaks))
    assert f"rank {fullest}, step" in str(error.value) and f"{max(peaks):g} activations" in str(error.value)
    step = int(str(error.value).split("step ")[1].split(":")[0])
    assert f">{schedule.order[fullest][step]}<" in str(error.value)
