"""Joins several models into one table, so that a text is looked up once for all of them."""

from collections.abc import Sequence

import numpy as np

from pinisi.curate.packs.ngrams import UNIT, NGrams
from pinisi.curate.packs.stream import distinct_runs, keys, run_hashes, windows

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
        self._unknown = np.array(
            [model.unknown if unknown is None else unknown for model in models], np.float32
        )
        self._other_run = np.array([model.other_run for model in models], np.float32)

    def log_likelihood(self, line: np.ndarray) -> np.ndarray:
        """Natural logarithm of the stream's probability under each model, float64 [models]."""
        logs, counts, _ = self.runs(line)
        return counts @ logs.astype(np.float64)

    def runs(self, line: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(log-probability of each different run of the stream under each model, float32 [runs, models];
        how often the run stands there; its characters, with the boundary that ends it)."""
        if len(line) < 2:
            none = np.zeros(0, np.int64)
            return np.zeros((0, self.width), np.float32), none, none
        line, counts = distinct_runs(line)
        ends, run_keys = run_hashes(line)
        found = [*windows(line), (ends, run_keys)]
        rows = self._index.rows(keys(np.concatenate([hashes for _, hashes in found])))
        of = np.split(rows, np.cumsum([len(places) for places, _ in found])[:-1])
        logs = np.empty((len(line), self.width), np.float32)
        logs[found[0][0]] = self._or(of[0], self._unknown)
        for (places, _), rows in zip(found[1:-1], of[1:-1], strict=True):
            there = np.flatnonzero(rows < len(self._index.keys))
            logs[places[there]] += self._weights.take(rows[there], 0)
        begins = np.concatenate([[1], ends[:-1] + 1])
        runs = np.add.reduceat(logs, begins, axis=0) + self._or(of[-1], self._other_run)
        return runs, counts, ends - begins + 1

    def _or(self, rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Weights, `missing` where a model has none."""
        return np.where(self._known.take(rows, 0), self._weights.take(rows, 0), missing)


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
        still = miss[(slots[miss] >> HIGH) != wanted[miss]]
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
