"""Adds to a program the sums of gradients over replicas, each right behind the last pass that adds to it.

A sum waits for the same rank of other replicas, and for nothing of its own pipeline; and its rank waits for it when all passes
are done. So it passes while others still compute, and can hold up no pass. It is launched behind what its rank sends at that
place, since neighbours wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from pinisi.schedule.encoding import LAUNCH, MASK, RUN, SHIFT, WAIT, Code, Encoding, encoded, encoding_of
from pinisi.schedule.needs import adders, gradients_of
from pinisi.schedule.program import Message, MessageChannel, Program
from pinisi.schedule.table import Layout


def reductions_of(layout: Layout, *, tied: bool) -> tuple[Message, ...]:
    """Returns the sums over replicas of all ranks of a pipeline; tied: embedding and head are one matrix."""
    return tuple(
        Message(MessageChannel.REDUCE, 0, rank, rank, group)
        for rank in range(layout.ranks)
        for group in gradients_of(layout, rank, tied=tied)
    )


def with_reductions(program: Program, *, tied: bool) -> Program:
    """Returns the program of a pipeline that has replicas: the same instructions, and the sums among them."""
    schedule = program.schedule
    encoding, rows = encoded(program)
    wanted = reductions_of(schedule.layout, tied=tied)
    placed = [
        sorted(
            (_behind_last(encoding, rows[m.source], m), at, m)
            for at, m in enumerate(wanted)
            if m.source == rank
        )
        for rank in range(len(rows))
    ]
    order = tuple(message for row in placed for *_, message in row)
    encoding = encoding_of(schedule.layout, schedule.microbatches, order)
    numbered = [[(at, encoding.number(message)) for at, _, message in row] for row in placed]
    code = Code(encoding, [_inserted(row, sums) for row, sums in zip(rows, numbered, strict=True)])
    return Program(schedule, code, program.collectives, order)


def _behind_last(encoding: Encoding, row: Sequence[int], message: Message) -> int:
    """Returns the place of a sum in a rank's row: before what comes behind the sends and launches of its last pass."""
    layout, m = encoding.graph.layout, encoding.microbatches
    types = {encoding.graph.number[key] for key in adders(message.stage, message.source, layout)}
    last = next(
        (
            at
            for at in reversed(range(len(row)))
            if row[at] & MASK == RUN and (row[at] >> SHIFT) // m in types
        ),
        -1,
    )
    return next((at for at in range(last + 1, len(row)) if row[at] & MASK in (RUN, WAIT)), len(row))


def _inserted(row: list[int], sums: Sequence[tuple[int, int]]) -> list[int]:
    """Returns a row with the launches of sums, by place and number, and at its end the waits for them."""
    found, before = [], 0
    for at, number in sums:
        found += [*row[before:at], number << SHIFT | LAUNCH]
        before = at
    return [*found, *row[before:], *(number << SHIFT | WAIT for _, number in sums)]
