"""Works on several things at once, each a wait for somebody else, and hands over what is done as it is done."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def in_parallel(work: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[tuple[int, Any]]:
    """Yields (number, result) as items are done, by at most `workers` at once.

    The first error ends it: no further item is begun, and the error is raised here. Threads that wait for an answer then don't keep
    the process alive, nor do they on an interrupt.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()
    for number in range(len(items)):
        waiting.put(number)

    def run() -> None:
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, work(items[number]), None))
            except BaseException as error:  # raised where the results are read
                done.put((number, None, error))
                return

    for _ in range(min(workers, len(items))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in items:
            number, result, error = done.get()
            if error is not None:
                raise error
            yield number, result
    finally:
        stop.set()
