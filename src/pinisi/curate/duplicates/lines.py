"""Finds lines that a corpus repeats in many documents: menus, notices, cookie banners (Sailor2, arXiv 2502.12982: lines seen more
than 5 times in a bucket of 10 million documents go, about 5 % of the tokens).

What is counted is in how many documents a passage of lines stands: one line if it is long enough to be no common phrase, else it
and those that follow or precede it, three or more, until they are. So a menu goes, short line after short line, and the label
`Ingredients:` stays, as does a refrain within one song. Lines of code are left alone (`code`).

Lines are the same if they differ in case, in white space or in how an accented letter is composed. LineCounts are sorted arrays, so
that parts of a bucket are counted apart and merged.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate.duplicates.code import code_lines
from pinisi.curate.duplicates.hashes import run_hashes
from pinisi.curate.duplicates.weights import letters_of_lines

BLANK = 0  # of a line without letters or digits
MORE_THAN = 5  # documents
SHARE = 1e-5  # of a bucket's documents; more than MORE_THAN from half a million documents on
LETTERS = 30  # of a passage: "How to make the sauce:" has 18, a copyright notice about 35
FEWEST = 3  # short lines that make a passage


class LineCounts(NamedTuple):
    """In how many documents each passage was seen."""

    hashes: np.ndarray  # uint64, ascending
    counts: np.ndarray  # int64


def line_hashes(text: str) -> np.ndarray:
    """Returns a uint64 for each line of the text (text.split("\\n")): equal lines have equal ones, on any machine."""
    return _line_hashes(_folded(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _line_hashes(folded: str) -> np.ndarray:
    return np.array([_hash(" ".join(line.split())) for line in folded.split("\n")], np.uint64)


def _hash(line: str) -> int:
    return text_key(line) if any(map(str.isalnum, line)) else BLANK


class Passages(NamedTuple):
    """Passages of a text's lines."""

    hashes: np.ndarray  # uint64
    first: np.ndarray  # line
    last: np.ndarray


def passages(text: str, letters: int = LETTERS) -> Passages:
    """Returns the shortest passages of `letters` units or more that begin or end with each line of a text.

    Each is one line, or FEWEST or more; lines without letters don't count, and none is code.
    """
    folded = _folded(text)
    hashes, of_lines = _line_hashes(folded), letters_of_lines(folded)
    code = np.array(code_lines(text.split("\n")), bool)
    said = np.flatnonzero((hashes != BLANK) & ~code)
    size, stretch = (
        of_lines[said],
        np.cumsum(code)[said],
    )  # code parts what stands before it from what stands behind
    first, last = _ranges(size, letters)
    whole = (first >= 0) & (last < len(said))
    first, last = first[whole], last[whole]
    one = stretch[first] == stretch[last]
    first, last = first[one], last[one]
    return Passages(run_hashes(hashes[said], first, last + 1), said[first], said[last])


def _ranges(size: np.ndarray, letters: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (first, last) of the passages among lines of these sizes; where there are too few, beyond the ends."""
    place = np.arange(len(size))
    total = np.concatenate([[0], np.cumsum(size)])
    alone = size >= letters
    last = np.searchsorted(total, total[:-1] + letters) - 1
    first = np.searchsorted(total, total[1:] - letters, "right") - 1
    last = np.where(alone, place, np.maximum(last, place + FEWEST - 1))
    first = np.where(alone, place, np.minimum(first, place - FEWEST + 1))
    ranges = np.unique(np.stack([np.append(place, first), np.append(last, place)], 1), axis=0)
    return ranges[:, 0], ranges[:, 1]


def count(hashes: np.ndarray) -> LineCounts:
    """LineCounts one document's passages: each that it has once, however often it stands there."""
    values = np.unique(hashes)
    return LineCounts(values, np.ones(len(values), np.int64))


def merge(parts: Iterable[LineCounts]) -> LineCounts:
    """Returns the counts of all parts together; in which order they come decides nothing."""
    hashes, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in parts:
        hashes.append(part.hashes)
        counts.append(part.counts)
    values, where = np.unique(np.concatenate(hashes), return_inverse=True)
    total = np.zeros(len(values), np.int64)
    np.add.at(total, where.reshape(-1), np.concatenate(counts))
    return LineCounts(values, total)


def most_documents(documents: int, most: int = MORE_THAN, share: float = SHARE) -> int:
    """Returns in how many of so many documents a passage may stand: a set phrase stands in more, the more documents there are."""
    return max(most, int(share * documents))


def frequent(counts: LineCounts, more_than: int = MORE_THAN) -> np.ndarray:
    """Returns the hashes of passages seen in more than `more_than` documents, uint64, ascending."""
    if more_than < 1:
        raise DataError(
            f"Frequent lines are those seen in more than one document or in more, not in more than {more_than}."
        )
    return counts.hashes[counts.counts > more_than]


def without(text: str, frequent: np.ndarray, letters: int = LETTERS) -> tuple[str, list[str]]:
    """Returns (the text without its frequent passages, their lines as they stood). `frequent`: ascending hashes.

    Where lines went, the blank lines that stood around them become one gap, as wide as the wider of both; at the text's ends none.
    """
    if not len(frequent):
        return text, []
    of = passages(text, letters)
    near = np.minimum(np.searchsorted(frequent, of.hashes), len(frequent) - 1)
    found = frequent[near] == of.hashes
    if not found.any():
        return text, []
    lines = text.split("\n")
    covered = np.zeros(len(lines) + 1, np.int64)
    np.add.at(covered, of.first[found], 1)
    np.add.at(covered, of.last[found] + 1, -1)
    goes = [bool(deep) and bool(line.strip()) for deep, line in zip(np.cumsum(covered), lines, strict=False)]
    return _left(lines, goes), [line for line, gone in zip(lines, goes, strict=True) if gone]


def _left(lines: list[str], goes: list[bool]) -> str:
    """Returns the lines that stay, with the wider of the gaps around those that go."""
    kept: list[str] = []
    blank: list[list[str]] = [[]]  # blank lines since the last one kept, apart where a line went
    for line, gone in zip(lines, goes, strict=True):
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
    return "\n".join(kept)
