"""Reads a text file, plain or packed (.gz, .zst), here or behind a URL, as bytes or lines, in bounded memory."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from pinisi.base.errors import DataError
from pinisi.data.storage import open_bytes
from pinisi.data.unpack import CHUNK, PACKED, TooMuch, packing, pieces, unpacking_errors

__all__ = [
    "BOM",
    "LINE",
    "PACKED",
    "Stretch",
    "TooMuch",
    "opened",
    "packing",
    "read_lines",
    "unpacking_errors",
]
BOM = b"\xef\xbb\xbf"  # which Windows writes at the beginning of UTF-8
LINE = 64 * 2**20  # bytes; a longer line is not held in memory


class Stretch(NamedTuple):
    """Names bytes `first` to `stop` of a file of lines that is not packed, which begin with line `line`."""

    first: int
    stop: int | None
    line: int

    @property
    def size(self) -> int:
        return 0 if self.stop is None else self.stop - self.first


def read_lines(
    path: str | Path, progress: Callable[[int], None] | None = None, stretch: Stretch | None = None
) -> Iterator[bytes]:
    """The lines of a file, each with its line end where it has one, without a byte-order mark at the beginning.

    stretch: reads those lines alone.
    progress: is told how many bytes of the file (as it lies on disk) have been read, before each line.
    Raises DataError that names file, line and byte where packed data are cut off or damaged, unpack to more than text does
    (TooMuch), or a line has more than `LINE` bytes; lines that are whole come before it. Raises DataError if zstandard is needed
    and not installed.
    """
    number = first = 1 if stretch is None else stretch.line
    with open_bytes(path) as file:
        read = pieces(path, file) if stretch is None else _within(file, stretch)
        try:
            for number, line in enumerate(_lines(f"{path}", read, first), first):
                if progress is not None:
                    progress(file.tell())
                yield line.removeprefix(BOM) if number == 1 else line
                number += 1
        except EOFError:
            raise DataError(
                f"{path}:{number}: the file ends in the middle of packed data, after byte {file.tell()}; "
                "it was cut off: copy or make it again"
            ) from None
        except TooMuch:
            raise
        except unpacking_errors() as error:
            raise DataError(
                f"{path}:{number}: packed data are damaged before byte {file.tell()} ({error}); "
                "copy or make the file again"
            ) from None


@contextmanager
def opened(path: str | Path, *, unpack: bool = True) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked by its name's ending unless that is not wanted; only what is not unpacked can be sought in.

    Reading raises EOFError where packed data are cut off, one of `unpacking_errors` where they are damaged or would become too
    much, and OSError; a URL that can't be reached raises DataError.
    """
    with open_bytes(path) as file:
        if not unpack or not packing(path):
            yield file
        else:
            yield io.BufferedReader(_Stream(pieces(path, file)), CHUNK)


class _Stream(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _within(file: IO[bytes], stretch: Stretch) -> Iterator[bytes]:
    file.seek(stretch.first)
    left = stretch.size
    while left and (piece := file.read(min(CHUNK, left))):
        left -= len(piece)
        yield piece


def _lines(path: str, pieces: Iterator[bytes], number: int) -> Iterator[bytes]:
    begun: list[bytes] = []  # of a line whose end has not come yet, which may be long
    size = 0
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line, b"\n"])
            begun, size = [], 0
            number += 1
        if rest:
            begun.append(rest)
            size += len(rest)
        if size > LINE:
            raise DataError(
                f"{path}:{number}: a line of more than {LINE // 2**20} MiB; a line is one document: cut it up or take it out"
            )
    if begun:
        yield b"".join(begun)
