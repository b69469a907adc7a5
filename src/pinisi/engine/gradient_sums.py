"""Sums gradients over the replicas of a model, a group at a time: launched by an instruction, collected when all passes are done.

A group is what the same passes add to (see `schedule.needs.gradients_of`). What is in no group that the program reduces is
summed at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch.distributed as dist

from pinisi.engine.optimizer import Slot
from pinisi.parallel.status import waiting
from pinisi.schedule.program import MessageChannel


class Flying(NamedTuple):
    """Holds a sum that is on its way, and what puts it where it belongs when it is there."""

    work: dist.Work
    take: Callable[[], None] | None = None

    def finish(self) -> None:
        """Waits: on a GPU the stream does, not the host."""
        self.work.wait()
        if self.take is not None:
            self.take()


class GradientSums(ABC):
    """Sums a rank's gradients over its replicas. `sent` counts the bytes that this rank handed over."""

    def __init__(self, slots: Sequence[Slot], group: dist.ProcessGroup, sent: Counter[str] | None = None):
        self.slots, self.group = slots, group
        self.sent: Counter[str] = Counter() if sent is None else sent
        self._flying: dict[int | None, list[Flying]] = {}

    @abstractmethod
    def _start(self, part: int | None) -> Iterator[Flying]:
        """Enters the sums of the slots of a group."""

    @abstractmethod
    def keep_own(self) -> None:
        """Sets to zero what this replica holds of sums besides its own share, so that each counts once in the next ones."""

    def launch(self, part: int | None) -> None:
        """Enters the sums of a group, which nothing adds to any more; returns at once."""
        for flying in self._flying.values():  # what is there needs no memory of its own any more
            while flying and flying[0].work.is_completed():
                flying.pop(0).finish()
        self._flying[part] = list(self._start(part))

    def collect(self, part: int | None) -> None:
        """Waits for the sums of a group."""
        flying = self._flying.pop(part)
        with waiting():
            while flying:
                flying.pop(0).finish()

    def rest(self, done: Collection[int]) -> None:
        """Sums all groups but those that a program has summed."""
        parts = [part for part in dict.fromkeys(slot.part for slot in self.slots) if part not in done]
        for part in parts:
            self.launch(part)
        for part in parts:
            self.collect(part)

    def _count(self, nbytes: int) -> None:
        self.sent[MessageChannel.REDUCE.value] += nbytes


class WholeSums(GradientSums):
    """Gives every replica the whole sum of each gradient, in place."""

    def _start(self, part: int | None) -> Iterator[Flying]:
        for slot in self.slots:
            if slot.part == part and slot.gradient.numel():
                self._count(slot.gradient.nbytes)
                yield Flying(dist.all_reduce(slot.gradient, group=self.group, async_op=True))

    def keep_own(self) -> None:
        if dist.get_rank(self.group):
            for slot in self.slots:
                slot.gradient.zero_()
