"""Computes U after C1 beside the passes: on a thread (CPU) or a stream of its own (GPU).

With 1 barrier each rank makes its part of U from what C1 brings, and sums it at once. If the rank's own thread did that, it
would come after the pass that is running then, and the last rank's B would wait for the slowest rank's pass.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
import torch.distributed as dist

from pinisi.engine import devices

Result = tuple[dist.Work, torch.Tensor]
Then = Callable[[], Result]  # takes the first collective's result, enters the second


class Link(ABC):
    """One first collective and what follows it. awaited: how often it has been waited for."""

    result: Result | None = None
    awaited = 0

    @abstractmethod
    def wait(self) -> None:
        """Until `then` has been called: a pass after this sees all that it did. Raises what it raised."""

    def take(self) -> list[Result]:
        """What `then` gave, once, after `wait`; nothing if it has been taken."""
        result, self.result = self.result, None
        return [] if result is None else [result]


class Chain(Protocol):
    def add(self, work: dist.Work, then: Then) -> Link:
        """Calls `then` when `work` is done, in the order of the calls of `add`."""


def chain_on(device: torch.device) -> Chain:
    """On a CPU the same one for all engines of a process: its thread has nothing to do between steps."""
    return _Streamed(device) if devices.works_beside(device) else _threaded()


class _Awaited(Link):
    def __init__(self, work: dist.Work, then: Then) -> None:
        self.work, self.then = work, then
        self._done = threading.Event()
        self._error: BaseException | None = None

    def go(self) -> None:
        try:
            self.work.wait()
            self.result = self.then()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self) -> None:
        self._done.wait()
        if self._error is not None:
            raise self._error


class _Threaded:
    """A thread that lives as long as the process, and computes with as many threads as the one that made it."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[_Awaited] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, work: dist.Work, then: Then) -> Link:
        if self._thread is None:
            arguments = (self._todo, torch.get_num_threads())
            self._thread = threading.Thread(target=_run, args=arguments, name="pinisi-chain", daemon=True)
            self._thread.start()
        link = _Awaited(work, then)
        self._todo.put(link)
        return link


@cache
def _threaded() -> _Threaded:
    return _Threaded()


def _run(todo: queue.SimpleQueue[_Awaited], threads: int) -> None:
    torch.set_num_threads(threads)  # a new thread starts with the machine's number
    while True:
        todo.get().go()


class _Enqueued(Link):
    def __init__(self, then: Then, result: Result, done: Any) -> None:
        self.result, self._then, self._done = result, then, done  # `then` holds what it reads

    def wait(self) -> None:
        self._done.wait()  # the current stream, not the host


class _Streamed:
    """A stream of its own: the host enqueues all at once and goes on.

    A tensor made here and freed by the host goes back to this stream, which waits for all that the passes' stream had been
    given before it goes on; one made by the passes is freed only behind a `wait`. So nothing is overwritten early.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, devices.stream(device)

    def add(self, work: dist.Work, then: Then) -> Link:
        done = devices.event(self._device)
        self._stream.wait_stream(devices.current_stream(self._device))
        with devices.on_stream(self._device, self._stream):
            work.wait()
            result = then()
            done.record()
        return _Enqueued(then, result, done)
