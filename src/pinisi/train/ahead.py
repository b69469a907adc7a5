"""Makes the next step's microbatches on a thread of its own while this step runs."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from pinisi.data.batches import Microbatch
from pinisi.train.task import Batches


class _Made(NamedTuple):
    """Holds a step's microbatches, and what is so after them."""

    microbatches: list[Microbatch]
    state: dict[str, Any]
    bytes_read: int


class BatchesAhead:
    """Deals what `batches` deals, and makes it one step early.

    `state` and `restore` speak of what was dealt, not of what was made. An error in the making is raised by the `step` that would
    have dealt it. early: False makes them when they are asked for. pinned: copies microbatches into page-locked memory, from which
    a GPU reads without the host waiting. waited, bytes_read: seconds for which the last `step` had nothing to give, and bytes of
    tokens that were read for it.
    """

    def __init__(self, batches: Batches, *, early: bool = True, pinned: bool = False) -> None:
        self.batches, self.early, self.pinned = batches, early, pinned
        self.waited, self.bytes_read = 0.0, 0
        self._read = 0  # bytes, up to what was dealt
        self._dealt = batches.state()
        self._making: tuple[int, Future[_Made]] | None = None
        self._thread = ThreadPoolExecutor(1, "batches")

    @property
    def languages(self) -> tuple[str, ...]:
        return self.batches.languages

    def step(self, microbatches: int) -> list[Microbatch]:
        """Returns this data rank's next microbatches, and begins to make as many of the step after."""
        start = time.perf_counter()
        if self._making is not None and self._making[0] != microbatches:
            self.restore(self._dealt)
        _, future = self._making or self._begin(microbatches)
        self._making = None  # an error is raised once; the next call makes the step anew
        made = future.result()
        self.waited = time.perf_counter() - start
        self.bytes_read, self._read = made.bytes_read - self._read, made.bytes_read
        self._dealt = made.state
        if self.early:
            self._making = self._begin(microbatches)
        return made.microbatches

    def state(self) -> dict[str, Any]:
        return self._dealt

    def counters(self) -> dict[str, dict[str, float]]:
        """Returns by component what was dealt so far (tokens, epochs, bytes), of batches that tell it; nothing of others."""
        told = getattr(self.batches, "counters", None)
        return {} if told is None else told(self._dealt)

    def restore(self, state: dict[str, Any]) -> None:
        self._forget()
        self.batches.restore(state)
        self._dealt = self.batches.state()

    def close(self) -> None:
        """Ends the thread; what it made and nobody took is forgotten."""
        self._forget()
        self._thread.shutdown()

    def _begin(self, microbatches: int) -> tuple[int, Future[_Made]]:
        return microbatches, self._thread.submit(self._make, microbatches)

    def _make(self, microbatches: int) -> _Made:
        made = self.batches.step(microbatches)
        if self.pinned:
            made = [each.pin() for each in made]
        return _Made(made, self.batches.state(), getattr(self.batches, "bytes_read", 0))

    def _forget(self) -> None:
        """Waits for what is being made, which must not move `batches` any more, and drops it with its errors."""
        if self._making is not None:
            self._making[1].exception()
            self._making = None
