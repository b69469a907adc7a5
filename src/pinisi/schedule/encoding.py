"""Encodes programs as numbers, so that a table of 300,000 passes is lowered, verified and simulated in seconds.

What an instruction is about has one number: a pass the one it has in `graph`, a collective its group's, and messages
between two ranks those behind. An instruction is what * 8 + its op. `Code` shows a program's numbers as Instructions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import overload

from pinisi.base.errors import ScheduleError
from pinisi.schedule.graph import Feed, graph_of
from pinisi.schedule.needs import Channel
from pinisi.schedule.program import P2P, Edge, Instruction, Message, MessageChannel, Op, Program
from pinisi.schedule.table import Layout, Pass

OPS = tuple(Op)
RUN, SEND, RECEIVE, LAUNCH, WAIT = range(5)
SHIFT, MASK = 3, 7
_P2P = {
    Channel.ACTIVATION: MessageChannel.ACTIVATION,
    Channel.GRADIENT: MessageChannel.GRADIENT,
    Channel.EMBEDDING: MessageChannel.EMBEDDING,
    Channel.EMBEDDING_GRADIENT: MessageChannel.EMBEDDING_GRADIENT,
}


class Encoding:
    """messages[k]: the message of microbatch 0 of type `first_message + k`; the first three are C0, C1, and U or C2, the last
    ones, from type `first_reduction` on, the reductions."""

    def __init__(self, layout: Layout, microbatches: int, reductions: tuple[Message, ...] = ()) -> None:
        self.graph, self.microbatches = graph_of(layout), microbatches
        self.first_message = len(self.graph.types)
        second = MessageChannel.U if layout.barriers == 1 else MessageChannel.C2
        self.messages = [
            Message(MessageChannel.C0, 0, layout.last_rank, -1),
            Message(MessageChannel.C1, 0, -1, -1),
            Message(second, 0, -1, layout.last_rank),
        ]
        self._type = {message: self.first_message + k for k, message in enumerate(self.messages)}
        self.sent: list[
            list[tuple[Feed, int]]
        ] = []  # of each type of pass, the arrows that are messages, and their types
        for t, feeds in enumerate(self.graph.feeds[: self.first_message]):
            self.sent.append(
                [(feed, self._add(t, feed)) for feed in feeds if feed.via in _P2P and not feed.local]
            )
        self.first_reduction = self.first_message + len(self.messages)
        self._type |= {message: self.first_reduction + k for k, message in enumerate(reductions)}
        self.messages += reductions
        self.size = (self.first_message + len(self.messages)) * microbatches

    def _add(self, t: int, feed: Feed) -> int:
        part = self.graph.types[feed.target][1]
        stage = part if feed.via in (Channel.ACTIVATION, Channel.GRADIENT) else 0
        message = Message(_P2P[feed.via], 0, self.graph.rank[t], self.graph.rank[feed.target], stage)
        if message not in self._type:
            self._type[message] = self.first_message + len(self.messages)
            self.messages.append(message)
        return self._type[message]

    def message_type(self, message: Message) -> int:
        """Raises ScheduleError for a message that this layout doesn't have."""
        found = self._type.get(message._replace(microbatch=0))
        if found is None or not 0 <= message.microbatch < self.microbatches:
            raise ScheduleError(
                f"{message} is no message of this table's layout and its {self.microbatches} microbatches"
            )
        return found

    def number(self, what: Pass | Message) -> int:
        if isinstance(what, Pass):
            return self.graph.number[what[:2]] * self.microbatches + what.microbatch
        return self.message_type(what) * self.microbatches + what.microbatch

    def what(self, number: int) -> Pass | Message:
        t, i = divmod(number, self.microbatches)
        if t < self.first_message:
            return Pass(*self.graph.types[t], i)
        return self.messages[t - self.first_message]._replace(microbatch=i)

    def encode(self, instruction: Instruction) -> int:
        return self.number(instruction.what) << SHIFT | OPS.index(instruction.op)

    def decode(self, code: int) -> Instruction:
        return Instruction(OPS[code & MASK], self.what(code >> SHIFT))


@lru_cache(maxsize=16)
def encoding_of(layout: Layout, microbatches: int, reductions: tuple[Message, ...] = ()) -> Encoding:
    return Encoding(layout, microbatches, reductions)


def edges_of(layout: Layout) -> frozenset[Edge]:
    """Returns the edges over which programs of this layout send, whatever their order of passes."""
    return frozenset(
        (each.channel, each.source, each.target)
        for each in encoding_of(layout, 1).messages
        if each.channel in P2P
    )


class Code(Sequence[Sequence[Instruction]]):
    """Each rank's instructions as numbers (`rows`), read as Instructions."""

    def __init__(self, encoding: Encoding, rows: Sequence[list[int]]) -> None:
        self.encoding, self.rows = encoding, rows
        self._read: dict[int, tuple[Instruction, ...]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> tuple[Instruction, ...]: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[tuple[Instruction, ...], ...]: ...
    def __getitem__(self, at: int | slice) -> tuple[Instruction, ...] | tuple[tuple[Instruction, ...], ...]:
        if isinstance(at, slice):
            return tuple(self[rank] for rank in range(*at.indices(len(self.rows))))
        rank = range(len(self.rows))[at]
        if rank not in self._read:
            self._read[rank] = tuple(self.encoding.decode(code) for code in self.rows[rank])
        return self._read[rank]

    def __iter__(self) -> Iterator[tuple[Instruction, ...]]:
        return (self[rank] for rank in range(len(self.rows)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(map(tuple, self.rows)))


def encoded(program: Program) -> tuple[Encoding, Sequence[list[int]]]:
    """A program's numbers, made from its instructions where they were written by hand."""
    if isinstance(program.instructions, Code):
        return program.instructions.encoding, program.instructions.rows
    schedule = program.schedule
    encoding = encoding_of(schedule.layout, schedule.microbatches, program.reductions)
    return encoding, [[encoding.encode(instruction) for instruction in row] for row in program.instructions]
