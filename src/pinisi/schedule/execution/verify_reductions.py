"""Proves that gradients are summed over replicas once, when they are complete, and in one order on all replicas."""

from __future__ import annotations

from collections.abc import Sequence

from pinisi.base.errors import ScheduleError
from pinisi.schedule.encoding import LAUNCH, MASK, RUN, SHIFT, WAIT, Encoding, encoded
from pinisi.schedule.execution.faults import fail_at
from pinisi.schedule.execution.reduce import reductions_of
from pinisi.schedule.needs import adders, are_tied
from pinisi.schedule.program import Message, Program


def verify_reductions(program: Program) -> None:
    """Raises ScheduleError unless each rank launches each of its sums once, behind every pass that adds to it, and waits for it.

    A program without sums is one pipeline's, and right. The order of a rank's launches is that of `program.reductions`.
    """
    if not program.reductions:
        return
    encoding, rows = encoded(program)
    _verify_complete(program)
    for rank in range(len(rows)):
        launched = _posts(program, encoding, rank, LAUNCH)
        waited = _posts(program, encoding, rank, WAIT)
        _verify_order(program, encoding, rank, [number for _, number in launched])
        waits = {number: at for at, number in waited}
        for at, number in launched:
            message = encoding.what(number)
            assert isinstance(message, Message)
            if number not in waits:
                raise ScheduleError(f"{_of(program)}: rank {rank} never waits for {message}")
            if waits[number] < at:
                fail_at(program, rank, number << SHIFT | WAIT, "comes before its LAUNCH")
            _verify_behind(program, encoding, rank, at, message)
        numbers = [number for _, number in waited]
        for number in numbers:
            if numbers.count(number) > 1 or number not in {each for _, each in launched}:
                fail_at(
                    program,
                    rank,
                    number << SHIFT | WAIT,
                    "waits for what was taken before, or never launched",
                )


def verify_replicas(programs: Sequence[Program]) -> None:
    """Raises ScheduleError unless the same rank of every replica launches its sums in the same order, or they would wait for one
    another."""
    for replica, program in enumerate(programs):
        for rank in range(program.schedule.layout.ranks):
            first, mine = (_launches(each, rank) for each in (programs[0], program))
            if mine != first:
                raise ScheduleError(
                    f"{_of(program)}: rank {rank} of replica {replica} sums gradients in the order {_told(mine)}, of replica 0 in "
                    f"the order {_told(first)}: run one table on all replicas"
                )


def _launches(program: Program, rank: int) -> list[Message]:
    encoding, _ = encoded(program)
    found = [encoding.what(number) for _, number in _posts(program, encoding, rank, LAUNCH)]
    return [message for message in found if isinstance(message, Message)]


def _told(messages: Sequence[Message]) -> str:
    return ", ".join(map(str, messages)) or "(none)"


def _of(program: Program) -> str:
    return f"schedule '{program.schedule.name}'"


def _verify_complete(program: Program) -> None:
    """All groups of gradients of all ranks are there, and each once."""
    tied = any(are_tied(message.stage) for message in program.reductions)
    # the ends of a tied matrix on two ranks are in no group, so that both forms have the same groups
    wanted = reductions_of(program.schedule.layout, tied=tied)
    if missing := [message for message in wanted if message not in program.reductions]:
        raise ScheduleError(f"{_of(program)}: no instruction sums {missing[0]} over the replicas")
    if len(wanted) != len(program.reductions):
        more = next(m for m in program.reductions if m not in wanted or program.reductions.count(m) > 1)
        raise ScheduleError(f"{_of(program)}: {more} is summed twice, or is none of its layout's")


def _posts(program: Program, encoding: Encoding, rank: int, wanted: int) -> list[tuple[int, int]]:
    """Returns the places and numbers of a rank's launches, or waits, of sums; raises where one is sent or received."""
    _, rows = encoded(program)
    first = encoding.first_reduction * encoding.microbatches
    found = [(at, code) for at, code in enumerate(rows[rank]) if code >> SHIFT >= first]
    for _, code in found:
        if code & MASK not in (LAUNCH, WAIT) or (code >> SHIFT) % encoding.microbatches:
            fail_at(
                program, rank, code, "is a sum over replicas, which is launched and waited for once a step"
            )
    return [(at, code >> SHIFT) for at, code in found if code & MASK == wanted]


def _verify_order(program: Program, encoding: Encoding, rank: int, launched: Sequence[int]) -> None:
    """The rank launches its own sums, each once, in the order that holds on all replicas."""
    wanted = [encoding.number(message) for message in program.reductions if message.source == rank]
    if launched == wanted:
        return
    for number in launched:
        if number not in wanted:
            fail_at(program, rank, number << SHIFT | LAUNCH, "belongs to another rank")
        if launched.count(number) > 1:
            fail_at(program, rank, number << SHIFT | LAUNCH, "is launched twice")
    if missing := [number for number in wanted if number not in launched]:
        raise ScheduleError(f"{_of(program)}: rank {rank} never launches {encoding.what(missing[0])}")
    other, due = next((a, b) for a, b in zip(launched, wanted, strict=True) if a != b)
    fail_at(
        program, rank, other << SHIFT | LAUNCH, f"comes where the replicas' order has {encoding.what(due)}"
    )


def _verify_behind(program: Program, encoding: Encoding, rank: int, at: int, message: Message) -> None:
    """No pass behind a launch adds to what it sums."""
    _, rows = encoded(program)
    types = {encoding.graph.number[key] for key in adders(message.stage, rank, encoding.graph.layout)}
    for code in rows[rank][at:]:
        if code & MASK == RUN and (code >> SHIFT) // encoding.microbatches in types:
            fault = f"comes before {encoding.what(code >> SHIFT)}, which adds to the same gradients"
            fail_at(program, rank, encoding.number(message) << SHIFT | LAUNCH, fault)
