"""Names the files that stages hand to one another, and reads and writes them."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.curate import records
from pinisi.curate.counts import Counts
from pinisi.data.documents import Document

STATS, DROPS, ERRORS = "stats.json", "drops", "errors"
READ, SCORE, NEAR, FINISH, LEARN, GRADE = "read", "score", "near", "finish", "learn", "grade"


class Arrays(NamedTuple):
    """Of documents that are kept so far, in the order of their file."""

    keys: np.ndarray  # [N] uint64: a text's hash
    ids: np.ndarray  # [N] uint64: an id's hash, which decides between equal texts
    urls: np.ndarray  # [N] uint64: 0 for none
    lengths: np.ndarray  # [N] characters
    sizes: np.ndarray  # [N] bytes
    signatures: np.ndarray  # [N, permutations] uint32


def save(path: Path, rows: Sequence[tuple]) -> None:
    keys, ids, links, lengths, sizes, signatures = zip(*rows, strict=True)
    np.savez(
        path,
        keys=np.array(keys, dtype=np.uint64),
        ids=np.array(ids, dtype=np.uint64),
        urls=np.array(links, dtype=np.uint64),
        lengths=np.array(lengths, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64),
        signatures=np.stack(signatures),
    )


def arrays_of(parts: Sequence[Path], language: str, width: int, spill: Path, most: int) -> Arrays:
    """Of all parts, one after the other. Signatures [N, width] of more than `most` bytes are written to the file `spill` and
    mapped from there, so that the kernel may take their memory back."""
    paths = [path for part in parts if (path := part / f"{language}.npz").exists()]
    columns: list[list[np.ndarray]] = []
    for path in paths:
        with np.load(path, allow_pickle=False) as stored:
            columns.append([stored[name] for name in Arrays._fields[:-1]])
    small = [np.concatenate(of) for of in zip(*columns, strict=True)]
    shape = len(small[0]), width
    if 4 * shape[0] * width > most:
        signatures: np.ndarray = np.lib.format.open_memmap(spill, mode="w+", dtype=np.uint32, shape=shape)
    else:
        signatures = np.empty(shape, np.uint32)
    first = 0
    for path, (keys, *_) in zip(paths, columns, strict=True):
        with np.load(path, allow_pickle=False) as stored:
            signatures[first : first + len(keys)] = stored["signatures"]
        first += len(keys)
    return Arrays(*[*small, signatures])


def documents_of_parts(
    parts: Sequence[Path], language: str, first: int = 0, stop: int | None = None
) -> Iterator[Document]:
    """Those from `first` to `stop` of all parts together; parts that lie outside are not read."""
    begin = 0
    for part in parts:
        if not (path := part / f"{language}.npz").exists():
            continue
        with np.load(path, allow_pickle=False) as stored:
            end = begin + len(stored["keys"])
        if end > first and (stop is None or begin < stop):
            inside = slice(max(0, first - begin), None if stop is None else stop - begin)
            yield from islice(
                records.read_documents(part / f"{language}.jsonl.zst"), inside.start, inside.stop
            )
        begin = end


def write_stats(folder: Path, counts: Counts) -> None:
    (folder / STATS).write_text(json.dumps(counts.table(), ensure_ascii=False), "utf-8")
