"""Names the files that stages hand to one another, and reads and writes them."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.curate import records
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.data.documents import Document

STATS, DROPS, ERRORS = "stats.json", "drops", "errors"
READ, SCORE, NEAR, FINISH, LEARN, GRADE = "read", "score", "near", "finish", "learn", "grade"
# In place of NEAR, for a language that is too large for one task.
BANDS, BUCKETS, PAIRS, MERGE = "bands", "buckets", "pairs", "merge"
SETTLE, MARK, TELL = "settle", "mark", "tell"


class Arrays(NamedTuple):
    """Of documents that are kept so far, in the order of their file."""

    keys: np.ndarray  # [N] uint64: a text's hash
    ids: np.ndarray  # [N] uint64: an id's hash, which decides between equal texts
    urls: np.ndarray  # [N] uint64: 0 for none
    lengths: np.ndarray  # [N] characters
    sizes: np.ndarray  # [N] bytes


class ComparedRow(NamedTuple):
    """One document's place in `Arrays`, its id and its signature."""

    key: int
    id: int
    url: int
    length: int
    size: int
    name: str
    signature: np.ndarray  # [permutations] uint32


def save(folder: Path, language: str, rows: Sequence[ComparedRow]) -> None:
    """Writes what is compared: numbers, and apart from them, to be mapped, signatures and ids."""
    keys, ids, links, lengths, sizes, names, signatures = zip(*rows, strict=True)
    np.savez(
        folder / f"{language}.npz",
        keys=np.array(keys, dtype=np.uint64),
        ids=np.array(ids, dtype=np.uint64),
        urls=np.array(links, dtype=np.uint64),
        lengths=np.array(lengths, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64),
    )
    np.save(folder / f"{language}.signatures.npy", np.stack(signatures))
    packed = [name.encode("utf-8", "surrogatepass") for name in names]
    np.save(folder / f"{language}.names.npy", np.frombuffer(b"".join(packed), np.uint8))
    np.save(folder / f"{language}.ends.npy", np.cumsum([0, *map(len, packed)]))


def with_language(parts: Sequence[Path], language: str) -> dict[Path, int]:
    """Those that have documents of the language, with how many. Asked for once by a process: parts are written before."""
    return _with_language(tuple(parts), language)


@lru_cache(16)
def _with_language(parts: tuple[Path, ...], language: str) -> dict[Path, int]:
    ends = {part: path for part in parts if (path := part / f"{language}.ends.npy").exists()}
    return {part: len(np.load(path, mmap_mode="r", allow_pickle=False)) - 1 for part, path in ends.items()}


def arrays_of(parts: Sequence[Path], language: str, first: int = 0, stop: int | None = None) -> Arrays:
    """Of the documents from `first` to `stop` of all parts together; parts that lie outside are not read."""
    begin, columns = 0, []
    for part, count in with_language(parts, language).items():
        if begin + count > first and (stop is None or begin < stop):
            inside = slice(max(0, first - begin), None if stop is None else stop - begin)
            with np.load(part / f"{language}.npz", allow_pickle=False) as stored:
                columns.append([stored[name][inside] for name in Arrays._fields])
        begin += count
    return Arrays(*[np.concatenate(of) for of in zip(*columns, strict=True)])


def signatures_of(parts: Sequence[Path], language: str, most: int = 0) -> Pieces:
    """[N, permutations] uint32 of all parts, in memory if they are no more than `most` bytes, else mapped."""
    counts = with_language(parts, language)
    paths = [part / f"{language}.signatures.npy" for part in counts]
    signatures = Pieces(paths, list(counts.values()))
    if sum(path.stat().st_size for path in paths) > most:
        return signatures
    first = np.load(paths[0], mmap_mode="r", allow_pickle=False)
    held, at = np.empty((len(signatures), first.shape[1]), first.dtype), 0
    for path, count in zip(paths, counts.values(), strict=True):
        held[at : at + count] = np.load(path, allow_pickle=False)
        at += count
    return Pieces([held])


def names_of(parts: Sequence[Path], language: str, rows: np.ndarray) -> dict[int, str]:
    """The ids of the documents of these numbers, which ascend."""
    first, names = 0, {}
    for part, count in with_language(parts, language).items():
        own = rows[slice(*np.searchsorted(rows, (first, first + count)))]
        if len(own):
            packed = np.load(part / f"{language}.names.npy", mmap_mode="r", allow_pickle=False)
            ends = np.load(part / f"{language}.ends.npy", mmap_mode="r", allow_pickle=False)
            for row in own.tolist():
                name = packed[ends[row - first] : ends[row - first + 1]].tobytes()
                names[row] = name.decode("utf-8", "surrogatepass")
        first += count
    return names


def documents_of_parts(
    parts: Sequence[Path], language: str, first: int = 0, stop: int | None = None
) -> Iterator[Document]:
    """Those from `first` to `stop` of all parts together; parts that lie outside are not read."""
    begin = 0
    for part, count in with_language(parts, language).items():
        if begin + count > first and (stop is None or begin < stop):
            inside = slice(max(0, first - begin), None if stop is None else stop - begin)
            yield from islice(
                records.read_documents(part / f"{language}.jsonl.zst"), inside.start, inside.stop
            )
        begin += count


def write_stats(folder: Path, counts: Counts) -> None:
    (folder / STATS).write_text(json.dumps(counts.table(), ensure_ascii=False), "utf-8")
