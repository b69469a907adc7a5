"""Several models as one table, so that a text is looked up once for all of them."""

from collections.abc import Sequence

import numpy as np

from pinisi.curate.packs.ngrams import UNIT, NGrams
from pinisi.curate.packs.stream import keys, run_hashes, windows

EMPTY = np.uint64(0)
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)


class Table:
    """Log-likelihoods of a stream under several models. unknown: if given, the weight (nats) of a character
    that a model has not seen, in place of the model's own."""

    def __init__(self, models: Sequence[NGrams], unknown: float | None = None) -> None:
        self._index = _Index(np.unique(np.concatenate([model.keys for model in models])))
        self.width = len(models)
        # one row more: what is in no model
        self._weights = np.zeros((len(self._index.keys) + 1, self.width), np.float32)
        self._known = np.zeros((len(self._index.keys) + 1, self.width), bool)
        for column, model in enumerate(models):
            rows = np.searchsorted(self._index.keys, model.keys)
            self._weights[rows, column] = model.weights / np.float32(UNIT)
            self._known[rows, column] = True
        self._unknown = np.array([model.unknown if unknown is None else unknown for model in models])
        self._other_run = np.array([model.other_run for model in models])

    def log_likelihood(self, line: np.ndarray) -> np.ndarray:
        """Natural logarithm of the stream's probability under each model, float64 [models]."""
        total = np.zeros(self.width)
        if len(line) < 2:
            return total
        for n, (_, hashes) in enumerate(windows(line), 1):
            total += self._sum(hashes, self._unknown if n == 1 else None)
        return total + self._sum(run_hashes(line)[1], self._other_run)

    def _sum(self, hashes: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
        """Weights of all n-grams. missing: the weight of one that a model lacks; None for 0."""
        rows = self._index.rows(keys(hashes))
        if missing is None:
            rows = rows[rows < len(self._index.keys)]
        total = self._weights[rows].sum(0, dtype=np.float64)
        if missing is not None:
            total += missing * (len(rows) - self._known[rows].sum(0))
        return total


class _Index:
    """From 32-bit keys to their rows: cuckoo hashing in two arrays, each slot key and row in 64 bits."""

    def __init__(self, distinct: np.ndarray) -> None:
        self.keys = distinct
        self._bits = max(len(distinct).bit_length() + 1, 8)
        while not self._place():
            self._bits += 1

    def rows(self, wanted: np.ndarray) -> np.ndarray:
        """Row of each key; len(keys) for one that is not there."""
        slots = self._slots[0][wanted >> np.uint32(32 - self._bits)]
        miss = np.flatnonzero((slots >> HIGH) != wanted)
        slots[miss] = self._slots[1][wanted[miss] & self._mask]
        rows = (slots & LOW).astype(np.int64) - 1
        still = miss[((slots[miss] >> HIGH) != wanted[miss]) | (slots[miss] == EMPTY)]
        rows[still] = len(self.keys)
        rows[rows < 0] = len(self.keys)  # key 0 seen in an empty slot
        return rows

    def _place(self) -> bool:
        """Puts each key in one of its two slots, all at once: who loses or is thrown out tries its other slot."""
        size = 1 << self._bits
        self._mask = np.uint32(size - 1)
        entries = (self.keys.astype(np.uint64) << HIGH) | np.arange(1, len(self.keys) + 1, dtype=np.uint64)
        self._slots = np.zeros((2, size), np.uint64)
        waiting = np.arange(len(self.keys))
        for turn in range(200):
            if not len(waiting):
                return True
            side = self._slots[turn % 2]
            wanted = self.keys[waiting]
            slots = wanted & self._mask if turn % 2 else wanted >> np.uint32(32 - self._bits)
            before = np.unique(side[slots])
            side[slots] = entries[waiting]
            lost = waiting[side[slots] != entries[waiting]]
            out = (before[before != EMPTY] & LOW).astype(np.int64) - 1
            waiting = np.concatenate([lost, out])
        return False
