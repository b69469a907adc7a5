"""A text file, plain or packed (.gz, .zst), as bytes or lines, in bounded memory."""

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pinisi.base.errors import DataError

PACKED = (".gz", ".zst")
CHUNK = 1 << 16  # bytes of the file unpacked at once


def read_lines(path: str | Path, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """The lines of a file, each with its line end where it has one.

    progress: is told how many bytes of the file (as it lies on disk) have been read, before each line.
    Raises DataError that names file, line and byte where packed data are cut off or damaged; lines that
    are whole come before it. Raises DataError if zstandard is needed and not installed.
    """
    path = Path(path)
    number = 1
    with path.open("rb") as file:
        try:
            for number, line in enumerate(_lines(_pieces(path, file)), 1):
                if progress is not None:
                    progress(file.tell())
                yield line
                number += 1
        except EOFError:
            raise DataError(
                f"{path}:{number}: the file ends in the middle of packed data, after byte {file.tell()}; "
                "it was cut off: copy or make it again"
            ) from None
        except unpacking_errors() as error:
            raise DataError(
                f"{path}:{number}: packed data are damaged before byte {file.tell()} ({error}); "
                "copy or make the file again"
            ) from None


@contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file's unpacked bytes; only a plain file can be sought in. Reading raises EOFError where packed data are cut off, one of
    `unpacking_errors` where they are damaged."""
    path = Path(path)
    with path.open("rb") as file:
        yield file if path.suffix not in PACKED else io.BufferedReader(_Stream(_pieces(path, file)), CHUNK)


class _Stream(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []  # of a line whose end has not come yet, which may be long
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line, b"\n"])
            begun = []
        if rest:
            begun.append(rest)
    if begun:
        yield b"".join(begun)


def _pieces(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    if path.suffix not in PACKED:
        while piece := file.read(CHUNK):
            yield piece
    elif path.suffix == ".gz":
        yield from _unpacked(file, lambda: zlib.decompressobj(wbits=31))
    else:
        yield from _unpacked(file, _zstandard(path).ZstdDecompressor().decompressobj)


def _unpacked(file: IO[bytes], new: Callable[[], Any]) -> Iterator[bytes]:
    """Frame after frame (gzip: members). Libraries' own readers take a cut-off zstd file for a whole one.

    Raises EOFError where the file ends inside a frame.
    """
    frame = None
    while packed := file.read(CHUNK):
        while packed:
            frame = frame or new()
            yield frame.decompress(packed)
            packed = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
    if frame is not None:
        raise EOFError


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError:
        raise DataError(
            f"{path} is packed with zstd, which needs the package zstandard: "
            "pip install 'pinisi[curate]', or unpack the file"
        ) from None
    return zstandard


def unpacking_errors() -> tuple[type[Exception], ...]:
    """What damaged packed data raise, where the libraries for them are installed."""
    try:
        import zstandard
    except ImportError:
        return (zlib.error,)
    return zlib.error, zstandard.ZstdError
