"""Emulates compute: each pass sleeps for its given cost; order, communication and memory slots are real.

Many ranks on a few cores can't show a pipeline's speed with real arithmetic, since they take the cores from one another.
A sleeping pass takes none, so the measured step is the schedule's and the communication's own.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable

import torch

from pinisi.schedule import Costs, Kind, Layout, Pass
from pinisi.schedule.program import Message, MessageChannel


class EmulatedWorker:
    """Implements `executor.Worker` with sleeps.

    `elements` is the size of a message in fp32 numbers. `alive` counts the activations (one a stage and microbatch) that
    this rank holds, `peak` its highest value.
    """

    def __init__(self, layout: Layout, rank: int, costs: Costs, elements: int = 1024):
        self.layout, self.rank, self.elements = layout, rank, elements
        self.seconds = costs.table(layout)
        self.alive: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()

    def run(self, p: Pass) -> None:
        until = time.perf_counter() + self.seconds[p.kind, p.part]
        if p.kind in (Kind.F, Kind.S):
            self.alive[p.kind.value] += 1
            self.peak[p.kind.value] = max(self.peak[p.kind.value], self.alive[p.kind.value])
        left = until - time.perf_counter()
        if left > 0:
            time.sleep(left)
        if p.kind in (Kind.W, Kind.BW):
            self.alive["F"] -= 1
        elif p.kind is Kind.T:
            self.alive["S"] -= 1

    def payload(self, message: Message) -> torch.Tensor:
        if message.channel is MessageChannel.C1:
            return torch.zeros(3, max(1, self.elements // 64))
        return torch.zeros(self.elements)

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        """Nothing to keep: passes don't read their inputs."""


class LimitedLink:
    """Emulates a link between replicas: messages go one after the other, each after the seconds that its bytes take."""

    def __init__(self, bytes_per_second: float):
        self.rate = bytes_per_second
        self._todo: queue.SimpleQueue[Travelling] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="pinisi-link", daemon=True).start()

    def send(self, nbytes: float, then: Callable[[], object] = lambda: None) -> Travelling:
        """Starts a message; `then` is called on the link's thread when it has gone, such as for a collective of the real ranks."""
        message = Travelling(nbytes / self.rate, then)
        self._todo.put(message)
        return message

    def _serve(self) -> None:
        free = 0.0
        while True:
            message = self._todo.get()
            free = max(free, message.start) + message.seconds
            time.sleep(max(0.0, free - time.perf_counter()))
            message.arrive()


class Travelling:
    """A message on a `LimitedLink`, which is waited for as a `dist.Work` is."""

    def __init__(self, seconds: float, then: Callable[[], object]):
        self.start, self.seconds, self.then = time.perf_counter(), seconds, then
        self._done = threading.Event()
        self._error: BaseException | None = None

    def arrive(self) -> None:
        """Does what comes at the end, on the link's thread."""
        try:
            self.then()
        except BaseException as error:
            self._error = error
        self._done.set()

    def is_completed(self) -> bool:
        return self._done.is_set()

    def wait(self) -> None:
        self._done.wait()
        if self._error is not None:
            raise self._error
