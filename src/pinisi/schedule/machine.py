"""An abstract machine that executes a Program: with times it simulates, without it proves that nothing
hangs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from pinisi.schedule.program import Message, MessageChannel, Op, Program
from pinisi.schedule.table import Pass
from pinisi.schedule.timeline import Span

_COLLECTIVE = frozenset((MessageChannel.C0, MessageChannel.C1, MessageChannel.U, MessageChannel.C2))


class Machine:
    """at[rank]: the next instruction; equal to the program's length on every rank if all went through.

    A thread per rank: a RUN takes its time, a WAIT lasts until its message has arrived, the rest takes none.
    A message starts when both ends have posted it (rendezvous; a collective: when all ranks have launched
    it) and the one before it on its channel, and between the same two ranks, is through.
    """

    def __init__(
        self, program: Program, run: Callable[[Pass], float], travel: Callable[[Message], float]
    ) -> None:
        self.program, self._run, self._travel = program, run, travel
        self.at = [0] * len(program.instructions)
        self.now = [0.0] * len(program.instructions)
        self.spans: list[list[Span]] = [[] for _ in program.instructions]
        self.done: dict[Message, float] = {}
        self._posted: dict[Message, tuple[int, float]] = {}
        self._channel_free: dict[object, float] = defaultdict(float)
        self._waiting: dict[Message, list[int]] = defaultdict(list)

    def execute(self) -> bool:
        """Run as far as it goes; True if every rank came to its end."""
        todo = list(range(len(self.at)))
        while todo:
            self._advance(todo.pop(), todo)
        return all(at == len(code) for at, code in zip(self.at, self.program.instructions, strict=True))

    def _advance(self, rank: int, todo: list[int]) -> None:
        code, now, at = self.program.instructions[rank], self.now[rank], self.at[rank]
        while at < len(code):
            op, what = code[at]
            if isinstance(what, Pass):
                end = now + self._run(what)
                self.spans[rank].append(Span(what, now, end))
                now = end
            elif op is Op.WAIT:
                if what not in self.done:
                    self._waiting[what].append(rank)
                    break
                now = max(now, self.done[what])
            else:
                self._post(what, now, todo)
            at += 1
        self.now[rank], self.at[rank] = now, at

    def _post(self, message: Message, now: float, todo: list[int]) -> None:
        collective = message.channel in _COLLECTIVE
        count, latest = self._posted.get(message, (0, 0.0))
        count, latest = count + 1, max(latest, now)
        self._posted[message] = (count, latest)
        if count < (len(self.at) if collective else 2):
            return
        channel = message.channel if collective else (message.channel, message.source, message.target)
        # Both ends post a channel's messages in one order (checked), so the one before has been timed
        # already.
        self.done[message] = self._channel_free[channel] = max(
            latest, self._channel_free[channel]
        ) + self._travel(message)
        todo.extend(self._waiting.pop(message, ()))
