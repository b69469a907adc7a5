"""Says before a curation how long it will take and how much room it needs, and stops where the disk clearly can't hold it.

What is measured is a second's work on the beginnings of a few files; what later stages add is known from whole runs. Both are
rough: half or twice the time is to be expected, since files differ within themselves.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pinisi.base.errors import DataError, PinisiError
from pinisi.base.files import free_bytes
from pinisi.base.libraries import library
from pinisi.curate import records
from pinisi.curate.config import CurateConfig
from pinisi.curate.stages.read import tried
from pinisi.curate.tools import Tools
from pinisi.data.lines import PACKED, read_lines
from pinisi.data.reading import Part
from pinisi.data.storage import is_url
from pinisi.report.numbers import duration, short

SECONDS, FILES = 1.5, 6  # of work that is measured, on the beginnings of so many files
SMALL = 4 * 2**20  # bytes of input: less is done before it would be measured
LATER = (
    0.3  # time of the stages after the first, in that of the first: .18 on 23 MB, more where much is repeated
)
COPIES = 3  # of a kept document's text, packed: as read, as finished, as put together
KEPT_AT_LEAST = 0.2  # of the documents, whatever a short sample says
PER_DOCUMENT = 64  # bytes of a document in arrays, beside its signature
FEWEST = 100  # documents that tell how much of a language is kept


class TimedSample(NamedTuple):
    """What the beginning of a file says. disk: bytes of the file that were read for it."""

    documents: int
    kept: int
    disk: float
    packed: int  # bytes of the kept documents, as records are packed
    seconds: float


class Estimate(NamedTuple):
    """Of a whole curation. room: bytes that are written before anything can be removed."""

    documents: int
    seconds: float
    room: int


def check_before(tools: Tools, parts: Sequence[Part], report: Callable[[str], None]) -> None:
    """Reports input, time and room. Raises DataError if less than half the room is free, with what to do."""
    config, every = tools.config, len({part.path for part in parts})
    parts = [part for part in parts if not is_url(part.path) and Path(part.path).is_file()]
    sizes = _sizes(parts)
    total, files = sum(sizes.values()), len(sizes)
    said = f"input: {short(total)}B in {files:,} {'file' if files == 1 else 'files'}"
    if every > files:
        said += f", and {every - files:,} elsewhere, of which nothing is known before they are read"
    if not config.run.estimate or total < SMALL:
        report(said)
        return
    found = estimate(tools, parts)
    if found is None:
        report(said)
        return
    free = free_bytes(Path(config.run.folder))
    report(
        f"{said}, about {_rounded(found.documents):,} documents; about {duration(found.seconds)} with {_workers(config)} "
        f"{'worker' if _workers(config) == 1 else 'workers'}; about {_size(found.room)} of disk, {_size(free)} are free"
    )
    if 2 * free < found.room:
        raise DataError(
            f"run.folder = '{config.run.folder}' has {_size(free)} free, and about {_size(found.room)} are needed: free some "
            "space, choose a folder on another disk, curate the sources one after the other, or set run.estimate = false to try"
        )


def estimate(tools: Tools, parts: Sequence[Part]) -> Estimate | None:
    """Returns what the whole will take; None if no document could be read."""
    sizes, samples = _sizes(parts), _samples(tools, parts)
    every = [sample for of in samples.values() for sample in of]
    documents, kept = sum(one.documents for one in every), sum(one.kept for one in every)
    if not documents:
        return None
    count = 0.0
    for path, size in sizes.items():
        alike = samples.get(_kind(path)) or every
        disk = sum(one.disk for one in alike)
        count += size * sum(one.documents for one in alike) / disk if disk else 0
    seconds = count * sum(one.seconds for one in every) / documents * (1 + LATER) / _workers(tools.config)
    share = max(kept / documents if documents >= FEWEST else 1.0, KEPT_AT_LEAST)
    near = 4 * tools.config.near.permutations if tools.config.near.on else 0
    text = sum(one.packed for one in every) / max(1, kept)
    return Estimate(round(count), seconds, round(count * share * (COPIES * text + near + PER_DOCUMENT)))


def _samples(tools: Tools, parts: Sequence[Part]) -> dict[str, list[TimedSample]]:
    """Of files of each kind, drawn evenly from their list."""
    whole = [part for part in parts if part.first == 0]
    step = max(1, len(whole) // FILES)
    chosen, found = whole[::step][:FILES], defaultdict(list)
    for part in chosen:
        try:
            sample = _sample(tools, part, SECONDS / len(chosen))
        except PinisiError:
            continue  # said with its place when the part is read
        if sample.documents:
            found[_kind(part.path)].append(sample)
    return found


def _sample(tools: Tools, part: Part, seconds: float) -> TimedSample:
    documents, lines, kept, spent = 0, [], 0, 0.0
    work = tried(tools, part)
    first = next(work, None)  # tables are made for the first, so its time says nothing
    start = time.monotonic()
    for document, stays in _chain(first, work):
        documents += 1
        if stays:
            kept += 1
            lines.append(json.dumps(vars(document), ensure_ascii=False, default=str))
        if (spent := time.monotonic() - start) > seconds:
            break
    else:
        return TimedSample(documents, kept, Path(part.path).stat().st_size, _packed(lines), spent)
    return TimedSample(documents, kept, _disk(part, documents, lines), _packed(lines), spent)


def _chain(first: tuple | None, rest: Iterator[tuple]) -> Iterator[tuple]:
    if first is not None:
        yield first
        yield from rest


def _disk(part: Part, documents: int, lines: Sequence[str]) -> float:
    """Bytes of the file that so many documents take."""
    size = Path(part.path).stat().st_size
    if part.format == "jsonl":
        return _disk_of_lines(part.path, size, documents)
    if part.format == "parquet":
        with library("pyarrow.parquet").ParquetFile(part.path) as file:
            return size * documents / max(1, file.metadata.num_rows)
    return _packed(lines) if part.path.endswith(PACKED) else sum(map(len, lines))


def _disk_of_lines(path: str, size: int, documents: int) -> float:
    """Of packed ones, which are read by blocks, more lines are read, up to the end of a block."""
    position = read = 0

    def progress(now: int) -> None:
        nonlocal position
        position = now

    packed, block, number = path.endswith(PACKED), 0, 0
    for number, line in enumerate(read_lines(path, progress)):
        if number >= documents and (not packed or position != block):
            return block * documents / number if packed else read
        block, read = position, read + len(line)
    return size * documents / (number + 1)


def _packed(lines: Sequence[str]) -> int:
    content = "\n".join(lines).encode("utf-8", "replace")
    return len(library("zstandard").ZstdCompressor(level=records.LEVEL).compress(content))


def _kind(path: str) -> str:
    return "".join(Path(path).suffixes[-2:] if path.endswith(PACKED) else Path(path).suffixes[-1:])


def _sizes(parts: Sequence[Part]) -> dict[str, int]:
    return {part.path: Path(part.path).stat().st_size for part in parts}


def _workers(config: CurateConfig) -> int:
    return (
        min(config.run.workers, os.cpu_count() or 1)
        if config.run.executor == "processes"
        else config.run.workers
    )


def _rounded(number: int) -> int:
    """To two digits: it is no better known."""
    return round(number, 2 - len(str(number))) if number >= 100 else number


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
