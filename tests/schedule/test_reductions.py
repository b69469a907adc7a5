"""Sums of gradients over replicas among a program's instructions: where they stand, what is refused, and how long a step takes."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Message, MessageChannel, Op, build, lower, names, simulate
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.simulate import step_seconds
from pinisi.schedule.execution.verify import verify_program
from pinisi.schedule.execution.verify_reductions import verify_replicas
from tests.distributed.cases import split_backward
from tests.effort import first
from tests.schedule.strict import accepts

TABLES = [(n, barriers) for n in names() for barriers in (0, 1, 2) if barriers or n != "interlaced"]


def is_sum(instruction):
    return isinstance(instruction.what, Message) and instruction.what.channel is MessageChannel.REDUCE


def group_of(message):
    return message.source, message.stage


def by_hand(layout, tied):
    """{(rank, number of a group): letters and parts of the passes that add to it}, written out."""
    found = {}
    for rank, stages in enumerate(layout.stages):
        for stage in stages:
            found[rank, stage] = {("B", stage), ("W", stage), ("BW", stage)}
        if layout.barriers and tied:
            found[rank, -3] = {("T", rank), ("G", rank)}
        elif layout.barriers:
            found[rank, -1], found[rank, -2] = {("G", rank)}, {("T", rank)}
        elif tied and len(layout.stages) * len(stages) > 1 and {0, layout.last_stage} <= set(stages):
            ends = {0, layout.last_stage}
            found[rank, -4] = {(kind, stage) for kind in ("B", "W", "BW") for stage in ends}
    return found


def programs(name, barriers):
    """A table as it is and with every BW split, at two sizes; the program of one pipeline beside that of one with replicas."""
    for ranks, microbatches in ((1, 2), (3, 6)):
        table = build(name, ranks, microbatches, barriers=barriers)
        for schedule in (table, split_backward(table)):
            for tied in (False, True):
                yield lower(schedule), with_reductions(lower(schedule), tied=tied), tied


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_each_group_is_summed_once_right_behind_what_adds_to_it_last(name, barriers):
    for alone, program, tied in programs(name, barriers):
        verify_program(program)
        groups = by_hand(program.schedule.layout, tied)
        assert Counter(map(group_of, program.reductions)) == Counter(groups.keys())
        for rank, code in enumerate(program.instructions):
            assert [x for x in code if not is_sum(x)] == list(alone.instructions[rank])
            order = [m for m in program.reductions if m.source == rank]
            assert [x.what for x in code if is_sum(x) and x.op is Op.LAUNCH] == order
            assert [x.what for x in code[len(code) - len(order) :]] == order, "waited for at the end"
            for at, (op, what) in enumerate(code):
                if op is not Op.LAUNCH or what not in order:
                    continue
                adds = [
                    k
                    for k, (o, p) in enumerate(code)
                    if o is Op.RUN and (str(p.kind), p.part) in groups[group_of(what)]
                ]
                assert adds[-1] < at, f"{what} comes before {code[adds[-1]]}"
                between = code[adds[-1] + 1 : at]
                assert all(x.op in (Op.SEND, Op.LAUNCH, Op.RECEIVE) for x in between), "not right behind it"
                assert code[at + 1].op is not Op.SEND, "a neighbour's message waits behind a sum"


@pytest.mark.parametrize(("name", "barriers"), TABLES)
def test_one_pipelines_program_has_no_sums(name, barriers):
    program = lower(build(name, 2, 4, barriers=barriers))
    assert program.reductions == () and not any(is_sum(x) for code in program.instructions for x in code)


def changed(program, rank, code):
    rows = list(program.instructions)
    rows[rank] = tuple(code)
    return replace(program, instructions=tuple(rows))


def refused(program, *words):
    with pytest.raises(ScheduleError) as error:
        verify_program(program)
    assert all(word in str(error.value) for word in words), str(error.value)


def a_program(barriers=1, tied=False):
    return with_reductions(lower(build("zbv", 2, 4, barriers=barriers)), tied=tied)


def places(code, op):
    return [at for at, x in enumerate(code) if is_sum(x) and x.op is op]


@pytest.mark.parametrize("barriers", first(2, [1, 2, 0]))
def test_planted_faults_are_refused(barriers):
    program = a_program(barriers)
    for rank, code in enumerate(map(list, program.instructions)):
        launches, waits = places(code, Op.LAUNCH), places(code, Op.WAIT)
        for at in launches:
            message = code[at].what
            other = [x for k, x in enumerate(code) if k != at]
            refused(changed(program, rank, other), f"rank {rank} never launches {message}")
            refused(changed(program, rank, [*code[:at], code[at], *code[at:]]), "is launched twice")
            last = max(k for k in range(at) if code[k].op is Op.RUN and adds_to(code[k].what, message))
            early = [*code[:last], code[at], *code[last:at], *code[at + 1 :]]
            refused(
                changed(program, rank, early),
                f"LAUNCH {message}",
                f"comes before {code[last].what}, which adds",
            )
            refused(
                changed(program, rank, [*code[:at], code[at]._replace(op=Op.SEND), *code[at + 1 :]]),
                "SEND REDUCE",
            )
            foreign = code[at]._replace(what=message._replace(source=1 - rank, target=1 - rank))
            assert not accepts(verify_program, changed(program, rank, [*code[:at], foreign, *code[at + 1 :]]))
        for at in waits:
            refused(
                changed(program, rank, code[:at] + code[at + 1 :]),
                f"rank {rank} never waits for {code[at].what}",
            )
            refused(changed(program, rank, [*code, code[at]]), "waits for what was taken before")
            refused(
                changed(program, rank, [code[at], *code[:at], *code[at + 1 :]]), "comes before its LAUNCH"
            )


def adds_to(p, message):
    groups = by_hand(build("zbv", 2, 4, barriers=1).layout, False) | by_hand(build("zbv", 2, 4).layout, False)
    return (str(p.kind), p.part) in groups[group_of(message)]


def test_a_sum_that_the_program_does_not_know_of_is_missed():
    program = a_program()
    for message in program.reductions:
        rows = tuple(tuple(x for x in code if x.what != message) for code in program.instructions)
        less = tuple(m for m in program.reductions if m != message)
        refused(replace(program, instructions=rows, reductions=less), f"no instruction sums {message}")


def exchanged(program, rank):
    """Two sums change places behind the last pass, where each of them is complete."""
    code = [x for x in program.instructions[rank] if not is_sum(x)]
    mine = [m for m in program.reductions if m.source == rank]
    order = [mine[1], mine[0], *mine[2:]]
    code += [
        next(x for x in program.instructions[rank] if x.op is op and x.what == m)
        for op in (Op.LAUNCH, Op.WAIT)
        for m in order
    ]
    return changed(program, rank, code)


def test_another_order_on_another_rank_is_refused():
    program = a_program()
    for rank in (0, 1):
        refused(exchanged(program, rank), "comes where the replicas' order has")
        verify_replicas([program, program])
        with pytest.raises(ScheduleError, match=f"rank {rank} of replica 1 sums gradients in the order"):
            verify_replicas([program, exchanged(program, rank)])


@pytest.mark.parametrize("barriers", first(2, [1, 0, 2]))
def test_sums_that_move_are_judged_by_what_adds_to_them(barriers):
    """A launch somewhere else is right exactly where all that adds to it is done, before its wait."""
    draw, verdicts = random.Random(barriers), []
    for name in (name for name, found in TABLES if found == barriers):
        for tied in (False, True):
            program = with_reductions(lower(build(name, 3, 6, barriers=barriers)), tied=tied)
            groups = by_hand(program.schedule.layout, tied)
            for _ in range(12):
                rank = draw.randrange(3)
                code = list(program.instructions[rank])
                instruction = code.pop(draw.choice(places(code, Op.LAUNCH)))
                at = draw.randint(len(code) // 2, len(code))
                code.insert(at, instruction)
                done = [
                    k
                    for k, (o, p) in enumerate(code)
                    if o is Op.RUN and (str(p.kind), p.part) in groups[group_of(instruction.what)]
                ]
                order = [x.what for x in code if is_sum(x) and x.op is Op.LAUNCH]
                right = (
                    at > done[-1]
                    and at
                    < next(k for k, x in enumerate(code) if x.op is Op.WAIT and x.what == instruction.what)
                    and order == [m for m in program.reductions if m.source == rank]
                )
                assert accepts(verify_program, changed(program, rank, code)) == right, (
                    name,
                    rank,
                    instruction,
                    at,
                )
                verdicts.append(right)
    assert 10 <= sum(verdicts) <= len(verdicts) - 10


def test_a_sum_passes_beside_what_comes_behind_its_last_pass():
    """1F1B, F = 1, BW = 2, no time for messages: rank r is through 2 r before rank 0, and waits for its sum alone."""
    costs = Costs(forward=1.0, backward=1.0, weight=1.0)
    for ranks in (1, 2, 4):
        schedule = build("1f1b", ranks, 6)
        program = with_reductions(lower(schedule), tied=False)
        makespan = simulate(schedule, costs).makespan
        assert step_seconds(program, costs, {}) == makespan
        for message in program.reductions:
            early = 2.0 * message.source
            assert step_seconds(program, costs, {message: early + 3.0}) == pytest.approx(makespan + 3.0)
            assert step_seconds(program, costs, {message: early}) == pytest.approx(makespan)


def test_a_ranks_sums_come_one_after_the_other_and_other_ranks_not():
    costs = Costs(forward=1.0, backward=1.0, weight=1.0, head_s=0.1, head_t=0.1)
    schedule = build("1f1b", 3, 6, barriers=1)
    program = with_reductions(lower(schedule), tied=False)
    makespan = simulate(schedule, costs).makespan
    of_rank_0 = [m for m in program.reductions if m.source == 0]
    assert len(of_rank_0) == 3
    assert step_seconds(program, costs, dict.fromkeys(of_rank_0, 100.0)) > 300.0
    one_each = {next(m for m in program.reductions if m.source == rank): 100.0 for rank in range(3)}
    assert step_seconds(program, costs, one_each) < 100.0 + makespan
