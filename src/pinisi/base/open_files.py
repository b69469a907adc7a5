"""Writes to many files at once while few of them are open: a process may have 256 handles, and a corpus 2,000 languages."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO

OPEN = 64  # files at once; which bytes come out depends on it where files are packed, so it is the same on every machine
WAITING = (
    64 * 2**10
)  # bytes that a file gathers before it is opened, so that many files in turn aren't opened for each line


class OpenFiles:
    """Appends to files by path; those that were used last stay open.

    open_file: opens one for appending, when it is written to first and again after it was closed for others. Up to `most` paths,
    each is opened once. Files whose bytes depend on when they are opened (packed ones, whose frames end then) are the same for the
    same writes in the same order.
    """

    def __init__(self, open_file: Callable[[Path], IO[bytes]], most: int = OPEN) -> None:
        self._open_file, self._most = open_file, most
        self._open: OrderedDict[Path, IO[bytes]] = OrderedDict()  # the last used at the end
        self._waiting: dict[Path, list[bytes]] = {}
        self._sizes: dict[Path, int] = {}

    def __enter__(self) -> "OpenFiles":
        return self

    def __exit__(self, *error: object) -> None:
        self.close(write=error[0] is None)

    def write(self, path: Path, data: bytes) -> None:
        self._waiting.setdefault(path, []).append(data)
        self._sizes[path] = self._sizes.get(path, 0) + len(data)
        if self._sizes[path] >= WAITING:
            self._flush(path)

    def close(self, *, write: bool = True) -> None:
        """Writes what is waiting, unless that is not wanted any more, and closes all."""
        try:
            # first those that are open, so that no file is opened again that needn't be
            for path in [*self._open, *self._waiting] if write else ():
                self._flush(path)
        finally:
            while self._open:
                self._open.popitem()[1].close()

    def _flush(self, path: Path) -> None:
        if data := self._waiting.pop(path, None):
            self._sizes.pop(path)
            self._file(path).write(b"".join(data))

    def _file(self, path: Path) -> IO[bytes]:
        if path not in self._open:
            if len(self._open) >= self._most:
                self._open.popitem(last=False)[1].close()
            self._open[path] = self._open_file(path)
        self._open.move_to_end(path)
        return self._open[path]
