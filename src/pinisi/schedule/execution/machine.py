"""Executes a Program on an abstract machine: it simulates, and shows whether anything hangs, which no times change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from pinisi.schedule.encoding import MASK, RUN, SHIFT, WAIT, encoded
from pinisi.schedule.graph import GROUPS
from pinisi.schedule.needs import Channel
from pinisi.schedule.program import Message, Program
from pinisi.schedule.table import Pass
from pinisi.schedule.timeline import Span

_U = GROUPS.index(Channel.C2)  # where U is found with 1 barrier


class Machine:
    """at[rank]: the next instruction; equal to the program's length on every rank if all went through.

    A thread per rank: a RUN takes its time, a WAIT lasts until its message has arrived, the rest takes none.
    A message starts when both ends have posted it (rendezvous; a collective: when all ranks have launched
    it) and the one before it on its channel, and between the same two ranks, is through; U when C1 is, too. The
    same rank of every replica launches a reduction at the same time, and has a channel for all of its own.

    run, travel: seconds of a pass and of a message, asked once for all microbatches. starts[rank]: of its RUNs, in order.
    """

    def __init__(
        self, program: Program, run: Callable[[Pass], float], travel: Callable[[Message], float]
    ) -> None:
        self.encoding, self.rows = encoded(program)
        m, first = self.encoding.microbatches, self.encoding.first_message
        self._shift = first * m
        self._run = [run(Pass(kind, part, 0)) for kind, part in self.encoding.graph.types]
        self._travel = [travel(message) for message in self.encoding.messages]
        self._channel = [
            k if k < len(GROUPS) else (message.channel, message.source, message.target)
            for k, message in enumerate(self.encoding.messages)
        ]
        self.at = [0] * len(self.rows)
        self.now = [0.0] * len(self.rows)
        self.starts: list[list[float]] = [[] for _ in self.rows]
        size = self.encoding.size - self._shift
        reductions = self.encoding.first_reduction - first
        self._wanted = [
            len(self.rows) if k < len(GROUPS) else 2 if k < reductions else 1
            for k in range(len(self._travel))
            for _ in range(m)
        ]
        self._done = [-1.0] * size  # seconds at which a message has arrived
        self._latest = [0.0] * size
        self._channel_free: dict[object, float] = defaultdict(float)
        # With 1 barrier: numbers from here on to the end of the type are U's, and C1's are m lower.
        self._chained = range(_U * m, (_U + 1) * m) if self.encoding.graph.layout.barriers == 1 else range(0)
        self._waiting: dict[int, list[int]] = defaultdict(list)

    def execute(self) -> None:
        """Run as far as it goes."""
        todo = list(range(len(self.at)))
        while todo:
            self._advance(todo.pop(), todo)

    @property
    def finished(self) -> bool:
        """Whether every rank came to its end."""
        return all(at == len(code) for at, code in zip(self.at, self.rows, strict=True))

    def spans(self) -> list[list[Span]]:
        """Each rank's passes with the seconds of their start and end."""
        # Both are tuples and made directly: a table has hundreds of thousands of them.
        m, types, seconds, new = (
            self.encoding.microbatches,
            self.encoding.graph.types,
            self._run,
            tuple.__new__,
        )
        found: list[list[Span]] = []
        for row, starts in zip(self.rows, self.starts, strict=True):
            spans: list[Span] = []
            passes = (code >> SHIFT for code in row if code & MASK == RUN)
            for p, start in zip(passes, starts, strict=True):
                t, i = divmod(p, m)
                kind, part = types[t]
                spans.append(new(Span, (new(Pass, (kind, part, i)), start, start + seconds[t])))
            found.append(spans)
        return found

    def _advance(self, rank: int, todo: list[int]) -> None:
        row, now, at, starts = self.rows[rank], self.now[rank], self.at[rank], self.starts[rank]
        run, m, shift, done = self._run, self.encoding.microbatches, self._shift, self._done
        while at < len(row):
            code = row[at]
            op = code & MASK
            if op == RUN:
                starts.append(now)
                now += run[(code >> SHIFT) // m]
            elif op == WAIT:
                message = (code >> SHIFT) - shift
                arrived = done[message]
                if arrived < 0:
                    self._waiting[message].append(rank)
                    break
                if arrived > now:
                    now = arrived
            else:
                self._post((code >> SHIFT) - shift, now, todo)
            at += 1
        self.now[rank], self.at[rank] = now, at

    def _post(self, message: int, now: float, todo: list[int]) -> None:
        latest = self._latest
        if now > latest[message]:
            latest[message] = now
        self._wanted[message] -= 1
        if self._wanted[message]:
            return
        k = message // self.encoding.microbatches
        channel = self._channel[k]
        # Both ends post a channel's messages in one order (checked), so the one before has been timed
        # already; and a rank launches U behind C1 (checked), so C1 has been timed.
        begin = max(latest[message], self._channel_free[channel])
        if message in self._chained:
            begin = max(begin, self._done[message - self.encoding.microbatches])
        arrived = begin + self._travel[k]
        self._done[message] = self._channel_free[channel] = arrived
        if message in self._waiting:
            todo.extend(self._waiting.pop(message))
