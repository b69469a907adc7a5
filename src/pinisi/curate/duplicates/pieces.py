"""Reads rows of an array that lies in many files, without holding it."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

OPEN = 512  # files that stay mapped; many systems allow a process 1,024 open ones
KNOWN = 1 << 17  # files of which shape and place are remembered, some 100 bytes each
FEW = 64  # rows of a file up to which it is read row by row: to map it takes as long


@lru_cache(OPEN)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


class _Header(NamedTuple):
    begin: int  # bytes before the first row
    row: tuple[int, ...]  # a row's shape
    dtype: np.dtype


@lru_cache(KNOWN)
def _header(path: Path) -> _Header:
    with path.open("rb") as stored:
        version = np.lib.format.read_magic(stored)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stored)
        return _Header(stored.tell(), shape[1:], dtype)


def _rows(path: Path, rows: np.ndarray) -> np.ndarray:
    """A few rows of a file."""
    begin, shape, dtype = _header(path)
    size = dtype.itemsize * int(np.prod(shape))
    stored = os.open(path, os.O_RDONLY)
    try:
        data = b"".join(os.pread(stored, size, begin + size * row) for row in rows.tolist())
    finally:
        os.close(stored)
    return np.frombuffer(data, dtype).reshape(len(rows), *shape)


class Pieces:
    """Arrays, or .npy files that are mapped when they are read, one after the other as if they were one array."""

    def __init__(self, pieces: Sequence[np.ndarray | Path], counts: Sequence[int] | None = None) -> None:
        """counts: the rows of each piece, where they are known; else each is opened and asked."""
        self._pieces, self.pieces = list(pieces), len(pieces)
        rows = [len(self._piece(n)) for n in range(len(self._pieces))] if counts is None else counts
        self._ends = np.cumsum(np.asarray(rows, np.int64))
        self._starts = self._ends - np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def _piece(self, number: int) -> np.ndarray:
        piece = self._pieces[number]
        return _mapped(piece) if isinstance(piece, Path) else piece

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The given rows, in the order given; read in that of the files."""
        if len(self._pieces) == 1:
            return self._piece(0)[rows]
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        cuts = np.searchsorted(ordered, self._ends)
        starts = np.append(0, cuts[:-1])
        first = self._piece(0)
        result = np.empty((len(rows), *first.shape[1:]), first.dtype)
        for number in np.flatnonzero(cuts > starts).tolist():
            inside = slice(starts[number], cuts[number])
            result[order[inside]] = self._taken(number, ordered[inside] - self._starts[number])
        return result

    def _taken(self, number: int, rows: np.ndarray) -> np.ndarray:
        piece = self._pieces[number]
        return (
            _rows(piece, rows) if isinstance(piece, Path) and len(rows) <= FEW else self._piece(number)[rows]
        )

    def blocks(self, first: int, stop: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
        """Each stretch of at most `most` rows from `first` to `stop`, with the number of its first row."""
        for number, (start, end) in enumerate(zip(self._starts.tolist(), self._ends.tolist(), strict=True)):
            for begin in range(max(start, first), min(end, stop), most):
                last = min(begin + most, end, stop)
                yield begin, np.asarray(self._piece(number)[begin - start : last - start])
