"""Unpacks .gz and .zst a little at a time, however much a few packed bytes may become.

A file of 327 kB can unpack to 10 GB. So no call of a library may give back more than some MiB, no frame may ask for more than
`WINDOW` bytes of memory, and a file of which a stretch of `STRETCH` unpacked bytes came from fewer than a `RATIO`th of that is
not read on. Text packs to a fifth, much repeated text to a fiftieth.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pinisi.base.errors import DataError

PACKED = (".gz", ".zst")
CHUNK = 2**16  # bytes of the file read at once
PIECE = 2**20  # bytes that gzip unpacks at once
# Packed bytes given to zstd at once, which can't be told to stop: a block of 4 bytes may hold 128 KiB, so 16 MiB come of them.
FEED = 512
WINDOW = 2**27  # bytes; RFC 8878 asks for 8 MiB, the zstd command gives up at this unless told otherwise
RATIO, STRETCH = 250, 64 * 2**20  # gzip reaches 1032, zstd 32,768


class TooMuch(DataError):
    """Packed data that would become more than anyone means to read."""


def packing(path: str | Path) -> str:
    """Returns ".gz", ".zst" or, of a file that is not packed, "": by its name in letters of either case."""
    ending = Path(path).suffix.lower()
    return ending if ending in PACKED else ""


def pieces(path: str | Path, file: IO[bytes]) -> Iterator[bytes]:
    """Yields the unpacked bytes of an open file, at most `PIECE` at once.

    Raises EOFError where packed data are cut off, TooMuch that names the file, and `unpacking_errors` where they are damaged.
    """
    kind = packing(path)
    if not kind:
        while piece := file.read(CHUNK):
            yield piece
        return
    new, most = (_gzip, CHUNK) if kind == ".gz" else (_zstd(path), FEED)
    packed, unpacked = 0, 0
    for taken, piece in _unpacked(file, new, most):
        packed, unpacked = packed + taken, unpacked + len(piece)
        if unpacked > STRETCH:
            if unpacked > RATIO * packed:
                raise TooMuch(
                    f"{path}: {unpacked / 2**20:.0f} MiB came out of {packed / 2**10:.0f} KiB, more than {RATIO} times as much, "
                    f"which text doesn't: not read further; if it is what you mean, unpack the file and give that"
                )
            packed, unpacked = 0, 0
        for first in range(0, len(piece), PIECE):
            yield piece[first : first + PIECE]


def _unpacked(file: IO[bytes], new: Callable[[], Any], most: int) -> Iterator[tuple[int, bytes]]:
    """(packed bytes taken, what they became), frame after frame (gzip: members), with the zeros between them that tapes and block
    devices fill up with. Libraries' own readers take a cut-off zstd file for a whole one. Raises EOFError inside a frame."""
    frame = None
    while packed := file.read(most):
        while packed:
            if frame is None:
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                frame = new()
            piece = frame.decompress(packed, PIECE)
            rest = frame.unused_data if frame.eof else frame.unconsumed_tail
            yield len(packed) - len(rest), piece
            packed, frame = rest, None if frame.eof else frame
    if frame is not None:
        raise EOFError


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


class _ZstdFrame:
    """A frame of zstd with the methods of zlib's. The library unpacks all that it is given, so it is given `FEED` bytes."""

    unconsumed_tail = b""

    def __init__(self, path: str | Path, frame: Any) -> None:
        self._path, self._frame = path, frame

    def decompress(self, packed: bytes, most: int) -> bytes:
        try:
            return self._frame.decompress(packed)
        except Exception as error:
            if "too much memory" not in str(error):
                raise
            raise TooMuch(
                f"{self._path}: a frame asks for a window of more than {WINDOW // 2**20} MiB: pack it without zstd's --long, or "
                "unpack it and give that"
            ) from None

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data


def _zstd(path: str | Path) -> Callable[[], _ZstdFrame]:
    try:
        import zstandard
    except ImportError:
        raise DataError(
            f"{path} is packed with zstd, which needs the package zstandard: "
            "pip install 'pinisi[curate]', or unpack the file"
        ) from None
    library = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    return lambda: _ZstdFrame(path, library.decompressobj())


def unpacking_errors() -> tuple[type[Exception], ...]:
    """What damaged packed data raise, where the libraries for them are installed; TooMuch too."""
    try:
        import zstandard
    except ImportError:
        return zlib.error, TooMuch
    return zlib.error, zstandard.ZstdError, TooMuch
