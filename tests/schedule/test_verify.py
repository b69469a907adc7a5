from dataclasses import replace

import pytest

from pinisi.errors import ScheduleError
from pinisi.schedule import Kind, Op, Pass, build, lower, verify
from pinisi.schedule.verify import verify_program
from tests.schedule.strict import Strict, table_runs


def swapped(rows, rank, at):
    row = list(rows[rank])
    row[at], row[at + 1] = row[at + 1], row[at]
    return (*rows[:rank], tuple(row), *rows[rank + 1 :])


def accepts(check, what) -> bool:
    try:
        check(what)
    except ScheduleError:
        return False
    return True


@pytest.mark.parametrize(("name", "microbatches"), [("1f1b", 6), ("gpipe", 3)])
@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_tables_with_two_passes_swapped_are_judged_as_the_strict_interpreter_does(
    name, microbatches, barriers
):
    schedule = build(name, 4, microbatches, barriers=barriers)
    accepted = rejected = 0
    for rank, row in enumerate(schedule.order):
        for at in range(len(row) - 1):
            mutant = replace(schedule, order=swapped(schedule.order, rank, at))
            runs = table_runs(mutant)
            assert accepts(verify, mutant) == runs, f"rank {rank}, step {at}"
            if runs:
                assert Strict(lower(mutant)).runs(), f"rank {rank}, step {at}"
            accepted, rejected = accepted + runs, rejected + (not runs)
    assert accepted and rejected


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_programs_with_two_instructions_swapped_are_judged_as_the_strict_interpreter_does(barriers):
    program = lower(build("1f1b", 4, 3, barriers=barriers))
    accepted = rejected = 0
    for rank, code in enumerate(program.instructions):
        for at in range(len(code) - 1):
            mutant = replace(program, instructions=swapped(program.instructions, rank, at))
            runs = Strict(mutant).runs()
            assert accepts(verify_program, mutant) == runs, f"rank {rank}: {code[at]} and {code[at + 1]}"
            accepted, rejected = accepted + runs, rejected + (not runs)
    assert accepted and rejected


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_programs_that_lack_an_instruction_are_rejected(barriers):
    """A missing WAIT or post must never pass: it is a race or a hang."""
    program = lower(build("1f1b", 3, 2, barriers=barriers))
    for rank, code in enumerate(program.instructions):
        for at, (op, _) in enumerate(code):
            if op is Op.RUN:
                continue
            row = code[:at] + code[at + 1 :]
            rows = (*program.instructions[:rank], row, *program.instructions[rank + 1 :])
            assert not accepts(verify_program, replace(program, instructions=rows)), (
                f"rank {rank}: {code[at]}"
            )


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
