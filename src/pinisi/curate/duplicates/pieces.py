"""Reads rows of an array that lies in many files, without holding it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

OPEN = 512  # files that stay mapped; Linux allows a process 65,530 maps


@lru_cache(OPEN)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


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
            result[order[inside]] = self._piece(number)[ordered[inside] - self._starts[number]]
        return result

    def blocks(self, first: int, stop: int, most: int) -> Iterator[tuple[int, np.ndarray]]:
        """Each stretch of at most `most` rows from `first` to `stop`, with the number of its first row."""
        for number, (start, end) in enumerate(zip(self._starts.tolist(), self._ends.tolist(), strict=True)):
            for begin in range(max(start, first), min(end, stop), most):
                last = min(begin + most, end, stop)
                yield begin, np.asarray(self._piece(number)[begin - start : last - start])
