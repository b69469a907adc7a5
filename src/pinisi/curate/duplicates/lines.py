"""Lines that a corpus repeats: menus, notices, cookie banners (Sailor2, arXiv 2502.12982: lines seen more than 5 times in a bucket
of 10 million documents go, about 5 % of the tokens).

Lines are the same if they differ in case, in white space or in how an accented letter is composed. Counts are sorted arrays, so
that parts of a bucket are counted apart and merged.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError

BLANK = 0  # of a line without letters or digits; such lines are never counted
MORE_THAN = 5


class Counts(NamedTuple):
    """How often each line was seen."""

    hashes: np.ndarray  # uint64, ascending
    counts: np.ndarray  # int64


def line_hashes(text: str) -> np.ndarray:
    """uint64, one for each line of the text (text.split("\\n")): equal lines have equal ones, on any machine."""
    folded = unicodedata.normalize("NFC", text.casefold())
    return np.array([_hash(" ".join(line.split())) for line in folded.split("\n")], np.uint64)


def _hash(line: str) -> int:
    return text_key(line) if any(map(str.isalnum, line)) else BLANK


def count(hashes: np.ndarray) -> Counts:
    """How often each of these lines occurs."""
    values, counts = np.unique(hashes[hashes != BLANK], return_counts=True)
    return Counts(values, counts.astype(np.int64))


def merge(parts: Iterable[Counts]) -> Counts:
    """The counts of all parts together; in which order they come decides nothing."""
    hashes, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in parts:
        hashes.append(part.hashes)
        counts.append(part.counts)
    values, where = np.unique(np.concatenate(hashes), return_inverse=True)
    total = np.zeros(len(values), np.int64)
    np.add.at(total, where.reshape(-1), np.concatenate(counts))
    return Counts(values, total)


def frequent(counts: Counts, more_than: int = MORE_THAN) -> np.ndarray:
    """uint64, ascending: the hashes of lines seen more than `more_than` times."""
    if more_than < 1:
        raise DataError(
            f"Frequent lines are those seen more than once or oftener, not more than {more_than} times."
        )
    return counts.hashes[counts.counts > more_than]


def without(text: str, frequent: np.ndarray) -> tuple[str, list[str]]:
    """(the text without its frequent lines, these lines as they stood). `frequent`: ascending hashes.

    Where lines went, the blank lines that stood around them become one gap, as wide as the wider of both; at the text's ends none.
    """
    hashes = line_hashes(text)
    if not len(frequent):
        return text, []
    near = np.minimum(np.searchsorted(frequent, hashes), len(frequent) - 1)
    goes = (frequent[near] == hashes) & (hashes != BLANK)
    if not goes.any():
        return text, []
    lines = text.split("\n")
    kept: list[str] = []
    blank: list[list[str]] = [[]]  # blank lines since the last one kept, apart where a line went
    for line, gone in zip(lines, goes.tolist(), strict=True):
        if gone:
            blank.append([])
        elif not line.strip():
            blank[-1].append(line)
        else:
            if kept or len(blank) == 1:
                widest: list[str] = max(blank, key=len)
                kept += widest
            kept.append(line)
            blank = [[]]
    kept += blank[0] if len(blank) == 1 else []
    return "\n".join(kept), [line for line, gone in zip(lines, goes.tolist(), strict=True) if gone]
