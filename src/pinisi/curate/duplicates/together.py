"""Finds the near duplicates of documents whose numbers fit into memory; their signatures may lie in files."""

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.near import bands_for
from pinisi.curate.duplicates.pairs import (
    Found,
    Pairs,
    after,
    band_hashes,
    buckets,
    candidates,
    compared,
    distinct,
    equal_numbers,
    has_text,
    least_equal,
    together,
)
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.curate.duplicates.settle import Settled, Texts, by_priority, settle

BYTES_PER_DOCUMENT = 256  # of memory, beside signatures and pairs
BYTES_PER_PAIR = 64
ROWS = 1 << 14  # signatures read at a time: 16 MiB


def find(
    signatures: Pieces,
    texts: Texts,
    *,
    threshold: float = 0.7,
    shape: tuple[int, int] | None = None,
    budget_bytes: int = 1 << 30,
) -> Settled:
    """Which documents stay, and for which others, as `settle` says.

    signatures [N, P] uint32; shape: bands and their rows, those of `bands_for` unless given. The order of documents decides
    nothing but which of two stays that have the same text, id and URL. budget_bytes: of memory for numbers of documents and pairs,
    beside signatures. Raises DataError if it is too small for so many documents.
    """
    if not len(signatures):
        nothing = np.zeros(0, np.int64)
        return Settled(nothing, nothing.astype(np.uint8), nothing.astype(np.uint16))
    permutations = signatures.take(np.zeros(1, np.int64)).shape[1]
    bands, rows = bands_for(threshold, permutations) if shape is None else shape
    if len(texts.keys) != len(signatures) or bands * rows > permutations:
        raise DataError(
            f"{len(signatures)} signatures of {permutations} numbers need as many keys (got {len(texts.keys)}) and at most "
            f"{permutations} numbers in bands (got {bands} bands of {rows} rows)."
        )
    free = budget_bytes - BYTES_PER_DOCUMENT * len(signatures)
    if free < 0:
        raise DataError(
            f"{len(signatures)} documents take {BYTES_PER_DOCUMENT * len(signatures)} bytes, but the budget is "
            f"{budget_bytes}: raise it or split the documents."
        )
    least = least_equal(threshold, permutations)
    search = _TogetherSearch(signatures, _one_of_each(texts), least, bands, rows)
    pairs = search.pairs(max(1 << 12, free // BYTES_PER_PAIR))
    return settle(texts, pairs, search.equal, least, permutations)


def _one_of_each(texts: Texts) -> np.ndarray:
    """A document for each text, by priority."""
    order = by_priority(texts)
    keys = texts.keys[order]
    return order[np.append(True, keys[1:] != keys[:-1])]


class _TogetherSearch:
    """Looks for pairs band by band."""

    def __init__(self, signatures: Pieces, documents: np.ndarray, least: int, bands: int, rows: int) -> None:
        self.signatures, self.least, self.bands, self.rows = signatures, least, bands, rows
        text = np.empty(len(signatures), bool)
        for first, block in signatures.blocks(0, len(signatures), ROWS):
            text[first : first + len(block)] = has_text(block)
        self.documents = documents[text[documents]]

    def equal(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return equal_numbers(self.signatures, left, right)

    def pairs(self, most: int) -> Pairs:
        """All pairs that are alike. Those of several bands are compared at once, about `most` of them."""
        found: list[Pairs] = []
        left = right = np.zeros(0, np.int64)
        for band in range(self.bands):
            more = self._of_band(band)
            left, right = np.concatenate((left, more[0])), np.concatenate((right, more[1]))
            last = band == self.bands - 1
            if last or len(left) > most:
                left, right = distinct(left, right)
            if last or len(left) > most // 2:
                found.append(compared(self.signatures, left, right, self.least))
                left = right = left[:0]
        return together(found)

    def _of_band(self, band: int) -> Found:
        hashes = np.empty(len(self.signatures), np.uint64)
        for first, block in self.signatures.blocks(0, len(self.signatures), ROWS):
            hashes[first : first + len(block)] = band_hashes(block, band * self.rows, self.rows)
        found = buckets(hashes[self.documents], self.documents)
        return candidates(*found, after(self.signatures, band, self.bands, self.rows), self.equal, self.least)
