"""Compares a language that is too large for one task: the same result as `compare`, in tasks that each fit into memory.

    bands    a task for each stretch of documents: hashes of the bands, sorted, so that a range of one is a slice
    buckets  a task for each band and range of hashes: pairs that share a bucket
    pairs    a task for each range of pairs: which are alike
    merge    a task: connected components of what is alike or has one URL
    settle   a task for each range of components: who stays, and for whom the others go
    mark     a task: the marks of all documents
    tell     a task for each stretch of documents: what is told of those that go

Documents are numbered through all parts. However the work is cut, the result is the same.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.base.files import new_folder
from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import components
from pinisi.curate.duplicates.near import bands_for
from pinisi.curate.duplicates.pairs import (
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
)
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.curate.duplicates.settle import STAYS, Texts, settle
from pinisi.curate.duplicates.together import ROWS
from pinisi.curate.stages.files import arrays_of, signatures_of, with_language, write_stats
from pinisi.curate.stages.near import Dropped, texts_of, write_duplicates
from pinisi.curate.tools import Tools

BLOCK = 1 << 20  # numbers that are read at a time from a mapped file
BINS = 4096  # ranges of components that are counted
COLUMNS = "keys", "lengths", "ids", "urls"


def write_bands(
    tools: Tools, parts: Sequence[Path], language: str, stretch: tuple[int, int], out: Path
) -> None:
    """Of a stretch of documents: what decides of each, and each band's hashes in their order, once for each text."""
    near, (first, stop) = tools.config.near, stretch
    bands, rows = bands_for(near.similarity, near.permutations)
    signatures = signatures_of(parts, language)
    with new_folder(out) as folder:
        texts = texts_of(arrays_of(parts, language, first, stop), tools.config.urls)
        for name, column in zip(COLUMNS, (texts.keys, texts.lengths, texts.ids, texts.urls), strict=True):
            np.save(folder / f"{name}.npy", column)
        hashes, text = np.empty((bands, stop - first), np.uint64), np.empty(stop - first, bool)
        for at, block in signatures.blocks(first, stop, ROWS):
            place = slice(at - first, at - first + len(block))
            text[place] = has_text(block)
            for band in range(bands):
                hashes[band, place] = band_hashes(block, band * rows, rows)
        once = np.sort(np.unique(texts.keys, return_index=True)[1])
        once = once[text[once]]
        shape = bands, len(once)
        ordered = np.lib.format.open_memmap(folder / "hashes.npy", "w+", np.uint64, shape)
        numbers = np.lib.format.open_memmap(folder / "numbers.npy", "w+", np.uint32, shape)
        for band in range(bands):
            order = np.argsort(hashes[band, once], kind="stable")
            ordered[band], numbers[band] = hashes[band, once[order]], once[order]
        write_stats(folder, Counts(tools.config.run.seed))


class Stretches(NamedTuple):
    """What the tasks `bands` wrote: a folder for each stretch of documents."""

    folders: list[Path]
    starts: list[int]

    def column(self, name: str) -> Pieces:
        counts = [stop - first for first, stop in zip(self.starts, self.starts[1:], strict=False)]
        return Pieces([folder / f"{name}.npy" for folder in self.folders], counts)

    def texts(self, documents: np.ndarray) -> Texts:
        keys, lengths, ids, urls = (self.column(name).take(documents) for name in COLUMNS)
        return Texts(keys, lengths, ids, urls)

    def of_range(self, band: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of a band from `low` to `high`, inclusive, and their documents, which ascend where hashes are equal."""
        hashes, numbers = [], []
        for folder, start in zip(self.folders, self.starts, strict=False):
            ordered = np.load(folder / "hashes.npy", mmap_mode="r", allow_pickle=False)[band]
            first = np.searchsorted(ordered, np.uint64(low))
            inside = slice(first, np.searchsorted(ordered, np.uint64(high), "right"))
            hashes.append(np.array(ordered[inside]))
            own = np.load(folder / "numbers.npy", mmap_mode="r", allow_pickle=False)[band, inside]
            numbers.append(own.astype(np.int64) + start)
        return np.concatenate(hashes), np.concatenate(numbers)


def write_buckets(
    tools: Tools,
    parts: Sequence[Path],
    language: str,
    stretches: Stretches,
    band: int,
    share: tuple[int, int],
    out: Path,
) -> None:
    """Pairs that share a bucket of a band, of the share n of N of its hashes."""
    near, (number, of) = tools.config.near, share
    bands, rows = bands_for(near.similarity, near.permutations)
    least = least_equal(near.similarity, near.permutations)
    signatures = signatures_of(parts, language)
    with new_folder(out) as folder:
        low, high = (number << 64) // of, ((number + 1 << 64) // of) - 1
        documents, bucket = _by_priority(stretches, *buckets(*stretches.of_range(band, low, high)))
        left, right = candidates(
            documents,
            bucket,
            after(signatures, band, bands, rows),
            lambda left, right: equal_numbers(signatures, left, right),
            least,
        )
        np.save(folder / "pairs.npy", np.stack(distinct(left, right)))
        write_stats(folder, Counts(tools.config.run.seed))


def _by_priority(
    stretches: Stretches, documents: np.ndarray, bucket: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The members of each bucket by priority; of a text in several stretches the first."""
    keys, lengths = stretches.column("keys").take(documents), stretches.column("lengths").take(documents)
    order = np.lexsort((documents, keys, -lengths, bucket))
    documents, bucket, keys = documents[order], bucket[order], keys[order]
    new = np.append(True, (keys[1:] != keys[:-1]) | (bucket[1:] != bucket[:-1]))[: len(keys)]
    return documents[new], bucket[new]


def write_pairs(
    tools: Tools,
    parts: Sequence[Path],
    language: str,
    found: Sequence[Path],
    share: tuple[int, int],
    out: Path,
) -> None:
    """Of the pairs whose left document lies in the range `share`: those that are alike, by left and right."""
    near = tools.config.near
    with new_folder(out) as folder:
        chosen = []
        for path in found:
            pairs = np.load(path / "pairs.npy", mmap_mode="r", allow_pickle=False)
            chosen.append(np.array(pairs[:, slice(*np.searchsorted(pairs[0], share))]))
        left, right = distinct(*np.concatenate(chosen, axis=1))
        least = least_equal(near.similarity, near.permutations)
        alike = compared(signatures_of(parts, language), left, right, least)
        np.save(folder / "alike.npy", np.stack((alike.left, alike.right)))
        np.save(folder / "equal.npy", alike.equal)
        write_stats(folder, Counts(tools.config.run.seed))


def write_components(
    tools: Tools, stretches: Stretches, alike: Sequence[Path], ranges: int, out: Path
) -> None:
    """Each document's component: its smallest member, or -1 for one that is alone. 8 bytes a document in a mapped file."""
    count = stretches.starts[-1]
    block = max(1 << 12, byte_count(tools.config.run.budget) // 128)
    with new_folder(out) as folder:
        parent = np.lib.format.open_memmap(folder / "component.npy", "w+", np.int64, (count,))
        parent[:] = components.ALONE
        for path in alike:
            pairs = np.load(path / "alike.npy", mmap_mode="r", allow_pickle=False)
            for first in range(0, pairs.shape[1], block):
                components.join(parent, *np.array(pairs[:, first : first + block]))
        for name in ("keys", "urls"):
            for number in range(ranges):
                low, high = (number << 64) // ranges, ((number + 1 << 64) // ranges) - 1
                low = max(low, 1) if name == "urls" else low  # 0 is no URL
                components.join_equal(parent, *_in_range(stretches.column(name), low, high))
        components.flatten(parent)
        sizes = np.zeros(BINS, np.int64)
        for first in range(0, count, BLOCK):
            of = parent[first : first + BLOCK]
            sizes += np.bincount(of[of != components.ALONE] * BINS // count, minlength=BINS)
        np.save(folder / "sizes.npy", sizes)
        write_stats(folder, Counts(tools.config.run.seed))


def _in_range(column: Pieces, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """(values, documents) of the values from `low` to `high`, inclusive."""
    values, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, block in column.blocks(0, len(column), BLOCK):
        inside = np.flatnonzero((block >= low) & (block <= high))
        values.append(block[inside])
        documents.append(inside + first)
    return np.concatenate(values), np.concatenate(documents)


def write_settled(
    tools: Tools,
    parts: Sequence[Path],
    language: str,
    stretches: Stretches,
    merged: Path,
    alike: Sequence[Path],
    share: tuple[int, int],
    out: Path,
) -> None:
    """Of the components in the range `share` of numbers: the documents that go, with those that stay for them."""
    near = tools.config.near
    signatures = signatures_of(parts, language)
    with new_folder(out) as folder:
        component = np.load(merged / "component.npy", mmap_mode="r", allow_pickle=False)
        members = [np.zeros(0, np.int64)]
        for first in range(0, len(component), BLOCK):
            block = component[first : first + BLOCK]
            members.append(np.flatnonzero((block >= share[0]) & (block < share[1])) + first)
        documents = np.concatenate(members)
        pairs = _pairs_of(documents, component, alike, share)

        def equal(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return equal_numbers(signatures, documents[left], documents[right])

        least = least_equal(near.similarity, near.permutations)
        settled = settle(stretches.texts(documents), pairs, equal, least, near.permutations)
        gone = np.flatnonzero(settled.reason != STAYS)
        np.save(folder / "documents.npy", documents[gone])
        np.save(folder / "stays.npy", documents[settled.stays[gone]])
        np.save(folder / "reason.npy", settled.reason[gone])
        np.save(folder / "equal.npy", settled.equal[gone])
        write_stats(folder, Counts(tools.config.run.seed))


def _pairs_of(
    documents: np.ndarray, component: np.ndarray, alike: Sequence[Path], share: tuple[int, int]
) -> Pairs:
    """The pairs of these components, by the places of their documents."""
    left, right, equal = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.uint16)]
    for path in alike:
        pairs = np.load(path / "alike.npy", mmap_mode="r", allow_pickle=False)
        counts = np.load(path / "equal.npy", mmap_mode="r", allow_pickle=False)
        for first in range(0, len(counts), BLOCK):
            block = np.array(pairs[:, first : first + BLOCK])
            of = component[block[0]]
            inside = np.flatnonzero((of >= share[0]) & (of < share[1]))
            left.append(np.searchsorted(documents, block[0, inside]))
            right.append(np.searchsorted(documents, block[1, inside]))
            equal.append(counts[first : first + BLOCK][inside])
    return Pairs(np.concatenate(left), np.concatenate(right), np.concatenate(equal))


def write_marks(
    tools: Tools, parts: Sequence[Path], language: str, settled: Sequence[Path], out: Path
) -> None:
    """keep.npy and sizes.npy of all documents, as `compare` writes them."""
    counts = with_language(parts, language)
    with new_folder(out) as folder:
        keep = np.lib.format.open_memmap(folder / "keep.npy", "w+", bool, (sum(counts.values()),))
        sizes = np.lib.format.open_memmap(folder / "sizes.npy", "w+", np.int64, keep.shape)
        keep[:] = True
        first = 0
        for part, count in counts.items():
            sizes[first : first + count] = arrays_of([part], language).sizes
            first += count
        for path in settled:
            gone = np.load(path / "documents.npy", allow_pickle=False)
            keep[gone], sizes[gone] = False, 0
        write_stats(folder, Counts(tools.config.run.seed))


def tell(
    tools: Tools,
    parts: Sequence[Path],
    language: str,
    settled: Sequence[Path],
    stretch: tuple[int, int],
    out: Path,
) -> None:
    """What is told of the documents that go, of a stretch of them."""
    counts = Counts(tools.config.run.seed)
    with new_folder(out) as folder, records.Writers(folder) as writers:
        found = []
        for path in settled:
            rows = np.load(path / "documents.npy", mmap_mode="r", allow_pickle=False)
            inside = slice(*np.searchsorted(rows, stretch))
            names = "documents", "stays", "reason", "equal"
            found.append(
                [np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)[inside] for name in names]
            )
        columns = [np.concatenate(each) for each in zip(*found, strict=True)]
        order = np.argsort(columns[0])
        dropped = Dropped(*(column[order] for column in columns))
        write_duplicates(writers, counts, parts, language, dropped, tools.config.near.permutations)
        write_stats(folder, counts)
