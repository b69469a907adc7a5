"""Draws in the order of documents of before there was a permutation, so that runs of then go on exactly.

An epoch's order was the order of a random number for each document, sorted in memory, and a stream's state the count of tokens
drawn from it. Whoever has no checkpoint of then needs nothing of this file.
"""

import zlib

import numpy as np

from pinisi.data.document_files import DocumentFiles
from pinisi.data.random_numbers import philox_key
from pinisi.data.streams import RowPieces


class SortedStream:
    """Holds an epoch's order and where each document starts in it: some 40 bytes a document."""

    def __init__(self, files: DocumentFiles, seed: int, name: str) -> None:
        self.files = files
        self._key = (seed, zlib.crc32(name.encode()))
        self._drawn = 0
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def epochs(self) -> float:
        return self._drawn / self.files.tokens

    def draw(self, count: int) -> RowPieces:
        parts = []
        while count:
            part = self._within_epoch(count)
            self._drawn += int(part.lengths.sum())
            count -= int(part.lengths.sum())
            parts.append(part)
        return RowPieces.joined(parts)

    def _within_epoch(self, count: int) -> RowPieces:
        epoch, inside = divmod(self._drawn, self.files.tokens)
        order, starts = self._epoch(epoch)
        stop = min(inside + count, self.files.tokens)
        first = int(np.searchsorted(starts, inside, side="right")) - 1
        last = int(np.searchsorted(starts, stop, side="left"))
        lengths = np.diff(starts[first + 1 : last], prepend=inside, append=stop)
        documents, begins, stops = self.files.extents(order[first:last])
        begins[0] += inside - starts[first]
        return RowPieces(documents, begins, stops, lengths)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of documents in an epoch and where each starts in it."""
        if epoch not in self._epochs:
            self._epochs.clear()
            documents = self.files.documents
            # raw bits of a counter-based generator and a stable sort: the same order in any numpy version
            keys = np.random.Philox(key=philox_key(*self._key, epoch)).random_raw(documents)
            order = np.argsort(keys, kind="stable")
            starts = np.concatenate([[0], np.cumsum(self.files.lengths()[order])[:-1]])
            self._epochs[epoch] = order, starts
        return self._epochs[epoch]

    def state(self) -> int:
        return self._drawn

    def restore(self, state: int) -> None:
        self._drawn = state
