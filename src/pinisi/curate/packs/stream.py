"""Turns a text into what the n-gram model sees: runs of letters between boundaries, and the hashes of their n-grams.

The stream of a text is boundary, run, boundary, run, ..., boundary: whatever is no letter or mark ends a run.
An n-gram is a window of the stream that holds a boundary at its first or last place only, so n-grams never
span two runs, and the probability of a text is the product of its runs'. A key is 32 bits of a hash; two
n-grams share one with a chance of 1e-5 for a whole pack.
"""

from collections.abc import Iterator

import numpy as np

from pinisi.data.text.scripts import LETTER, classes
from pinisi.data.text.segmentation import normal_codes

ORDERS = 5  # the longest n-gram
BOUNDARY = 1  # no letter has this code point
PIECE = 1 << 16  # code points hashed at once: what a core's cache holds
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: hashes are polynomials in it, modulo 2**64
FINAL = np.uint64(0xD6E8FEB86659FD93)
WORD_SALT = np.uint64(0xA24BAED4963EE407)
HIGH = np.uint64(32)


def stream(codes: np.ndarray, kinds: np.ndarray | None = None) -> np.ndarray:
    """The stream of normal code points (`segmentation.normal_codes`), uint32. kinds: their classes, if known."""
    if kinds is None:
        kinds = classes()[codes]
    letter = kinds == LETTER
    keep = letter.copy()
    keep[1:] |= letter[:-1]  # what ends a run
    runs = np.where(letter, codes, np.uint32(BOUNDARY))[keep]
    ends = [BOUNDARY] if len(runs) and runs[-1] != BOUNDARY else []
    return np.concatenate([np.array([BOUNDARY], np.uint32), runs, np.array(ends, np.uint32)])


def stream_of(text: str) -> np.ndarray:
    return stream(normal_codes(text))


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """`text` in pieces of at most `size` characters, cut at a space or line end where there is one."""
    start = 0
    while start + size < len(text):
        end = max(text.rfind(" ", start + 1, start + size), text.rfind("\n", start + 1, start + size))
        end = start + size if end < 0 else end
        yield text[start:end]
        start = end
    yield text[start:]


def starts(line: np.ndarray) -> np.ndarray:
    """For each place of a stream, the place of the boundary that begins its run (its own run's for the
    boundary that ends one; 0 for the first), int64."""
    places = np.arange(len(line))
    begin = np.maximum.accumulate(np.where(line == BOUNDARY, places, 0))
    return np.concatenate([[0], begin[:-1]])


def windows(line: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For n = 1 to ORDERS: (places where an n-gram ends, hash of it, uint64). Order 1 has every place but the
    first boundary's, which only ever is a context and not predicted."""
    values = line.astype(np.uint64) + np.uint64(1)
    hashes = values.copy()
    room = np.arange(len(line)) - starts(line)  # characters before it in its run, the boundary counted
    yield np.arange(1, len(line)), hashes[1:]
    for n in range(2, ORDERS + 1):
        # hashes[i] is that of the window that ends at i + n - 1
        hashes = hashes[:-1] * BASE + values[n - 1 :]
        places = np.flatnonzero(room[n - 1 :] >= n - 1)
        yield places + n - 1, hashes[places]


def keys(hashes: np.ndarray) -> np.ndarray:
    """The 32 bits of a hash that packs keep, uint32."""
    mixed = (hashes ^ (hashes >> HIGH)) * FINAL
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * BASE) >> HIGH).astype(np.uint32)


def run_hashes(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(place of the boundary that ends each run, hash of the run as a whole, uint64)."""
    bounds = np.flatnonzero(line == BOUNDARY)
    if len(bounds) < 2:
        return bounds[1:], np.zeros(0, np.uint64)
    place = np.arange(len(line)) - starts(line)
    values = (line.astype(np.uint64) + np.uint64(1)) * _powers(int(place.max()) + 1)[place]
    values[bounds] = 0
    return bounds[1:], np.add.reduceat(values, bounds[:-1]) * WORD_SALT + WORD_SALT


def distinct_runs(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the stream with each different run once, where it first stands; how often each stands in `line`)."""
    ends, hashes = run_hashes(line)
    begins = np.flatnonzero(line == BOUNDARY)[:-1]
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    new = np.zeros(len(ends), bool)
    new[first] = True
    once = np.concatenate([line[:1], line[1:][np.repeat(new, ends - begins)]])
    return once, counts[np.argsort(first)]


def _powers(count: int) -> np.ndarray:
    powers = np.full(count, BASE, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)
