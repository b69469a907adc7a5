"""Finds repeated passages: whole sentences and lines of a stretch that has occurred before, in any text or earlier in its own.

A stretch is measured in letters of equal weight (`weights`): the units of the text. Stretches of `least` units that occurred
before, put together, are all that a suffix array finds (Lee et al.: "Deduplicating training data makes language models better",
arXiv 2107.06499), so equal windows of `least` units are all that must be found, and hashes find them in linear time. A suffix
array takes 5 to 9 bytes a byte of text, all in memory at once; here the memory is a setting:

1. Winnowing (Schleimer, Wilkerson, Aiken, SIGMOD 2003): of the hashes of a window's k-grams, k = least / 2, the smallest is
   its fingerprint. Equal windows have theirs at the same offset. A run is the windows in a row that have theirs at one
   position: one run for about k / 2 units.
2. Runs are hashed whole and sorted: within a repeated passage they are equal as wholes, and so are all their windows.
3. At its ends they are not. So of runs that are equal the first goes on, and if another, different run has its fingerprint
   then the windows of both are hashed and sorted one by one.
4. Each run or window found goes with the one before it that has its hash, and the units of both are compared, so that no
   collision cuts a text.

What doesn't fit the budget is done in parts, step 2 by fingerprint, step 3 by hash.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.code import code_lines
from pinisi.curate.duplicates.hashes import BASE, INVERSE, mix, powers
from pinisi.curate.duplicates.spans import Spans
from pinisi.curate.duplicates.weights import weights
from pinisi.data.text.segmentation import codes
from pinisi.data.text.sentences import bounds

CHUNK = 1 << 16  # units hashed at once: their numbers stay in the second-level cache
BYTES_PER_RUN = 100  # working memory of a run while they are sorted
BYTES_PER_WINDOW = 60  # working memory of a window while they are sorted
UNIT = 4  # bytes
LEAST = 16  # units; shorter stretches repeat everywhere


def repeated(
    texts: Sequence[str],
    keys: np.ndarray,
    *,
    least: int = 140,
    budget_bytes: int = 1 << 30,
    folder: str | Path | None = None,
) -> list[Spans]:
    """Returns for each text the spans of characters, in order, that lie in a repeated stretch of `least` units or more.

    A character is one unit, an ideograph three, a syllable of kana or Hangul two: so a stretch says as much in any script.

    Earlier: in a text of a smaller key (keys [N] uint64; of equal keys, so of equal texts, the first given), or nearer the
    start of its own. So the first occurrence stays and the order of the texts decides nothing. A stretch lies in one text. It
    is shrunk to the whole sentences and lines in it (`sentences.bounds`), and left alone if these have fewer than half of
    `least` units: what is left of the text has no torn sentence. Code (`code`) goes with all of its block or stays.

    Working memory beside `texts` and the answer: about `budget_bytes`, and 16 MiB however little that is. Units (4 bytes each)
    of more than a quarter of it are kept in a temporary file in `folder` (default: the system's place for these) and read from
    there.
    """
    if least < LEAST:
        raise DataError(f"Stretches of {least} characters repeat in any text: look for {LEAST} or more.")
    if len(keys) != len(texts):
        raise DataError(f"{len(texts)} texts need as many keys, not {len(keys)}.")
    order = np.argsort(np.asarray(keys, np.uint64), kind="stable")
    spans: list[Spans] = [[] for _ in texts]
    with tempfile.TemporaryFile(dir=folder) as file:
        stream = _stream(texts, order, budget_bytes // 4, file)
        stretches = _verified(stream, least, _matches(stream, least, budget_bytes // 2))
        place = np.searchsorted(stream.starts, stretches[:, 0], "right") - 1
        for number in np.unique(place):
            own = stretches[slice(*np.searchsorted(place, [number, number + 1]))] - stream.starts[number]
            spans[order[number]] = _shrunk(texts[order[number]], own, least)
    return spans


class _UnitStream(NamedTuple):
    """The units of all texts, one behind the other in canonical order: each code point as often as it weighs."""

    data: np.ndarray  # uint32, in memory or in a file
    starts: np.ndarray  # [N + 1]


def _stream(texts: Sequence[str], order: np.ndarray, most: int, file: IO[bytes]) -> _UnitStream:
    starts = np.zeros(len(order) + 1, np.int64)
    for place, number in enumerate(order):
        of = codes(texts[number])
        starts[place + 1] = starts[place] + file.write(np.repeat(of, weights()[of]).tobytes()) // UNIT
    file.flush()
    size = int(starts[-1])
    if 0 < size * UNIT <= most:
        file.seek(0)
        return _UnitStream(np.frombuffer(file.read(), np.uint32), starts)
    if not size:
        return _UnitStream(np.zeros(0, np.uint32), starts)
    return _UnitStream(np.memmap(file, np.uint32, mode="r", shape=(size,)), starts)


def _chunks(stream: _UnitStream, least: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(its place in the stream, its units, which of its windows lie in one text); chunks overlap by a window."""
    size = _chunk_size(least)
    for start in range(0, len(stream.data) - least + 1, size - least + 1):
        part = np.asarray(stream.data[start : start + size])
        whole = np.ones(len(part) - least + 1, bool)
        inner = slice(*np.searchsorted(stream.starts, [start + 1, start + len(part)]))
        for border in np.unique(stream.starts[inner]) - start:
            whole[max(0, border - least + 1) : border] = False
        yield start, part, whole


def _chunk_size(least: int) -> int:
    return max(CHUNK, 8 * least)


def _prefix_hashes(part: np.ndarray) -> np.ndarray:
    prefix = np.zeros(len(part) + 1, np.uint64)
    np.cumsum((part + np.uint64(1)) * powers(BASE, len(part)), out=prefix[1:])
    return prefix


def _window_hashes(prefix: np.ndarray, width: int) -> np.ndarray:
    """The hash of each `width` units, before mixing."""
    return (prefix[width:] - prefix[:-width]) * powers(INVERSE, len(prefix) - width)


def _sliding_minimum(values: np.ndarray, width: int) -> np.ndarray:
    """The smallest of each `width` consecutive values, by doubling."""
    smallest, reach = values, 1
    while 2 * reach <= width:
        smallest, reach = np.minimum(smallest[:-reach], smallest[reach:]), 2 * reach
    rest = width - reach
    return np.minimum(smallest[: len(smallest) - rest], smallest[rest:]) if rest else smallest


class _RepeatedRuns(NamedTuple):
    """Windows at consecutive units of one text that have their fingerprint at one position."""

    start: np.ndarray  # the first window of each
    length: np.ndarray
    fingerprint: np.ndarray  # uint64
    content: np.ndarray  # uint64 hash of all their units

    def of(self, which: np.ndarray) -> _RepeatedRuns:
        return _RepeatedRuns(*(column[which] for column in self))


def _runs(part: np.ndarray, whole: np.ndarray, least: int) -> _RepeatedRuns:
    """The runs of a chunk, their starts counted from its own."""
    prefix = _prefix_hashes(part)
    grams = mix(_window_hashes(prefix, least // 2))
    place_bits = np.uint64(
        _chunk_size(least).bit_length()
    )  # the low bits say where: of equal hashes, the first
    placed = (grams >> place_bits << place_bits) | np.arange(len(grams), dtype=np.uint64)
    smallest = _sliding_minimum(placed, least - least // 2 + 1)
    change = np.ones(len(smallest), bool)
    change[1:] = (smallest[1:] != smallest[:-1]) | (whole[1:] != whole[:-1])
    start = np.flatnonzero(change)
    length = np.diff(np.append(start, len(smallest)))
    start, length = start[whole[start]], length[whole[start]]
    content = (prefix[start + length + least - 1] - prefix[start]) * powers(INVERSE, len(part))[start]
    return _RepeatedRuns(start, length, smallest[start] >> place_bits, content)


class _Matches(NamedTuple):
    """Consecutive windows, [start, stop) in the stream, each equal by hash to that at `back` units before it."""

    start: np.ndarray
    stop: np.ndarray
    back: np.ndarray


def _matches(stream: _UnitStream, least: int, budget: int) -> _Matches:
    """All repeated windows, in order of their start; the sorts take up to `budget` bytes."""
    found: list[_Matches] = []
    parts = 1 + 4 * len(stream.data) // least * BYTES_PER_RUN // budget
    for part in range(parts):
        unclear = _match_runs(stream, least, part, parts, found)
        portions = 1 + int(unclear.length.sum()) * BYTES_PER_WINDOW // budget
        for portion in range(portions):
            _match_windows(stream, least, unclear, portion, portions, found)
    if not found:
        return _Matches(*(np.zeros(0, np.int64),) * 3)
    start, stop, back = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.argsort(start, kind="stable")
    return _consecutive(start[order], stop[order], back[order])


def _match_runs(
    stream: _UnitStream, least: int, part: int, parts: int, found: list[_Matches]
) -> _RepeatedRuns:
    """Adds the runs that equal an earlier one to `found`, those of one part of the fingerprints; returns the first of equal ones
    where a different run has the same fingerprint, in order."""
    kept = [_RepeatedRuns(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.uint64, np.uint64)))]
    for start, data, whole in _chunks(stream, least):
        runs = _runs(data, whole, least)
        runs = runs.of(runs.fingerprint % np.uint64(parts) == part) if parts > 1 else runs
        runs = runs._replace(start=runs.start + start)
        kept.append(runs.of(_without_earlier(runs, found)))  # what repeats within the chunk goes no further
    runs = _RepeatedRuns(*(np.concatenate(columns) for columns in zip(*kept, strict=True)))
    kept.clear()
    runs = runs.of(_without_earlier(runs, found))
    order = np.argsort(runs.fingerprint, kind="stable")
    begins = _begins(runs.fingerprint[order])
    several = ~begins
    several[:-1] |= ~begins[1:]
    return runs.of(np.sort(order[several]))


def _without_earlier(runs: _RepeatedRuns, found: list[_Matches]) -> np.ndarray:
    """Which runs equal no earlier one; the others are added to `found`. The runs stand in order."""
    back = _back(runs.content, runs.start)
    later = back > 0
    if later.any():
        start = runs.start[later]
        found.append(_consecutive(start, start + runs.length[later], back[later]))
    return ~later


def _match_windows(
    stream: _UnitStream, least: int, runs: _RepeatedRuns, portion: int, portions: int, found: list[_Matches]
) -> None:
    """Adds the windows of these runs, in order, that equal an earlier one of them to `found`: one portion of their hashes."""
    hashes, places = [], []
    for start, data, whole in _chunks(stream, least):
        first, last = np.searchsorted(runs.start, [start, start + len(whole)])
        if first == last:
            continue
        length = runs.length[first:last]
        window = np.repeat(runs.start[first:last] - np.cumsum(length) + length, length) + np.arange(
            length.sum()
        )
        hashed = mix(_window_hashes(_prefix_hashes(data), least)[window - start])
        mine = hashed % np.uint64(portions) == portion
        hashes.append(hashed[mine])
        places.append(window[mine])
    if hashes:
        place = np.concatenate(places)
        back = _back(np.concatenate(hashes), place)
        later = back > 0
        found.append(_consecutive(place[later], place[later] + 1, back[later]))


def _back(hashes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of places in ascending order: how far the nearest earlier one with the same hash is; 0 where there is none."""
    order = np.argsort(hashes, kind="stable")
    same = ~_begins(hashes[order])
    back = np.zeros(len(places), np.int64)
    back[order[same]] = places[order[same]] - places[order[np.flatnonzero(same) - 1]]
    return back


def _begins(ordered: np.ndarray) -> np.ndarray:
    begins = np.ones(len(ordered), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return begins


def _consecutive(start: np.ndarray, stop: np.ndarray, back: np.ndarray) -> _Matches:
    """Runs in order of their start: those that continue the one before them are joined to it."""
    begins = np.ones(len(start), bool)
    begins[1:] = (start[1:] != stop[:-1]) | (back[1:] != back[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:] - 1, len(start) - 1)[: len(first)]
    return _Matches(start[first], stop[last], back[first])


def _verified(stream: _UnitStream, least: int, matches: _Matches) -> np.ndarray:
    """[K, 2]: the units of all matches that are truly equal, as stretches that don't touch or lie in different texts."""
    data, good = stream.data, []
    for start, stop, back in zip(*(column.tolist() for column in matches), strict=True):
        end = stop + least - 1
        if np.array_equal(data[start:end], data[start - back : end - back]):
            good.append((start, end))
            continue
        for window in range(start, stop):  # two windows of one hash, a chance of about n^2 / 2^64
            if np.array_equal(data[window : window + least], data[window - back : window - back + least]):
                good.append((window, window + least))
    stretches = np.array(good, np.int64).reshape(-1, 2)
    text = np.searchsorted(stream.starts, stretches[:, 0], "right")
    reach = stretches[:, 1]  # ascending as the starts are: each window is in one match
    begins = np.ones(len(stretches), bool)
    begins[1:] = (stretches[1:, 0] > reach[:-1]) | (text[1:] != text[:-1])
    first = np.flatnonzero(begins)
    return np.stack(
        [stretches[first, 0], reach[np.append(first[1:] - 1, len(reach) - 1)[: len(first)]]], axis=1
    )


def _shrunk(text: str, stretches: np.ndarray, least: int) -> Spans:
    """Returns stretches of a text's units as spans of its characters, moved inwards to where sentences and lines meet."""
    weight = weights()[codes(text)]
    offsets = np.concatenate([[0], np.cumsum(weight, dtype=np.int64)])  # of each character, in units
    safe, spans = np.flatnonzero(bounds(text) & ~_in_code(text)), []
    for start, end in stretches.tolist():
        inner = safe[slice(*np.searchsorted(offsets[safe], [start, end + 1]))]
        if len(inner) and 2 * (offsets[inner[-1]] - offsets[inner[0]]) >= least:
            spans.append((int(inner[0]), int(inner[-1])))
    return spans


def _in_code(text: str) -> np.ndarray:
    """Tells which places lie in a line of code or between two such lines, bool [len(text) + 1]: code stays whole."""
    inside = np.zeros(len(text) + 1, bool)
    lines = text.split("\n")
    code, at, last = code_lines(lines), 0, None  # last: where the line of code before this one ends
    for line, found in zip(lines, code, strict=True):
        end = at + len(line)
        if found:
            inside[at + 1 if last is None else last : end] = True
            last = end
        elif line.strip():
            last = None
        at = end + 1
    return inside
