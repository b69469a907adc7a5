"""Shows how far work is: a bar on a terminal, and nothing in a log, where plain lines belong."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

T = TypeVar("T")
FORMAT = "{n_fmt}/{total_fmt} {bar:20} {desc}"
COLUMNS, ROWS = 80, 24  # of a terminal that says 0, as some in containers do


class ProgressBar:
    """Shows a bar on the last line of a terminal by tqdm. Elsewhere it has no effect, and `shown` is False."""

    def __init__(self, total: int, done: int = 0, stream: TextIO | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        self._bar: Any = None
        if is_terminal(stream):
            size: dict[str, Any] = (
                {"dynamic_ncols": True} if _knows_its_size(stream) else {"ncols": COLUMNS, "nrows": ROWS}
            )
            self._bar = _tqdm()(
                total=total, initial=done, file=stream, leave=False, bar_format=FORMAT, **size
            )
        self.shown = self._bar is not None

    def at(self, done: int, text: str, total: int | None = None) -> None:
        """Moves the bar to `done`, with a text behind it. total: if it has changed."""
        if self._bar is not None:
            self._bar.total = self._bar.total if total is None else total
            self._bar.n = done
            self._bar.set_description_str(text, refresh=False)
            self._bar.refresh()

    def close(self) -> None:
        """Takes the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
            self._bar, self.shown = None, False


def with_bar(items: Iterable[tuple[str, T]], total: int) -> Iterator[tuple[str, T]]:
    """Yields the same items, and shows on a bar how many of `total` there were and the name of the last."""
    bar = ProgressBar(total)
    try:
        for done, (name, item) in enumerate(items):
            bar.at(done, name)
            yield name, item
    finally:
        bar.close()


def say(text: str) -> None:
    """Prints a line on stdout: above the bars where it is a terminal."""
    if is_terminal(sys.stdout):
        _tqdm().write(text, file=sys.stdout)
        sys.stdout.flush()
    else:
        print(text, flush=True)


def is_terminal(stream: TextIO) -> bool:
    """Tells whether a stream is a terminal on which a line can be written over."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _knows_its_size(stream: TextIO) -> bool:
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):
        return False


def _tqdm() -> Any:
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own, and no semaphore: one process draws
    tqdm.set_lock(threading.RLock())
    return tqdm
