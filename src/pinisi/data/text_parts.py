"""Cuts text into parts that are tokenized apart, and takes the digest of each file on the way.

The cut depends on the files alone, so that the same text gives the same parts for any number of workers. A file of plain JSON lines
is cut behind line ends into stretches that know the number of their first line, so that a document's name (file:line) is the same
however the text is cut; other files stay whole. Neighbours that are small go together.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pinisi.base.errors import DataError
from pinisi.data.inputs import Input
from pinisi.data.lines import Stretch, packing
from pinisi.data.storage import checksum, is_url

PARTS = 64  # that all text is cut into, about, so that many workers end together; of so many bytes each:
SMALLEST, LARGEST = 2**20, 2**30
TOGETHER = 4  # files read at once: the digest leaves the interpreter to others
CHUNK = 2**22  # bytes read at once


class TextPart(NamedTuple):
    """Holds what one task tokenizes: files, or stretches of files, and the bytes they have (0 where that is not known)."""

    inputs: tuple[Input, ...]
    size: int


class CutText(NamedTuple):
    """digests: of each file, by path; of what lies behind a URL what its store says."""

    digests: dict[str, str]
    parts: list[TextPart]


class _Seen(NamedTuple):
    digest: str
    pieces: list[tuple[Input, int]]  # and their bytes


def cut(inputs: Sequence[Input]) -> CutText:
    """Reads all files once. Raises DataError for one that can't be read."""
    sizes = [0 if is_url(each.path) else Path(each.path).stat().st_size for each in inputs]
    most = max(SMALLEST, min(LARGEST, sum(sizes) // PARTS))
    with ThreadPoolExecutor(TOGETHER) as pool:
        seen = list(pool.map(lambda each, size: _look(each, size, most), inputs, sizes))
    digests = {each.path: found.digest for each, found in zip(inputs, seen, strict=True)}
    return CutText(digests, list(_together([piece for found in seen for piece in found.pieces], most)))


def _look(each: Input, size: int, most: int) -> _Seen:
    if is_url(each.path):
        return _Seen(str(checksum(each.path)), [(each, 0)])
    cuttable = each.part.format == "jsonl" and not packing(each.path) and size > most
    digest, starts = hashlib.sha256(), [Stretch(0, None, 1)]
    position, line, wanted = 0, 1, most  # of the chunk; where the next stretch may begin
    try:
        with open(each.path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                while cuttable and (end := chunk.find(b"\n", max(0, wanted - 1 - position)) + 1):
                    starts.append(Stretch(position + end, None, line + chunk.count(b"\n", 0, end)))
                    wanted = position + end + most
                position, line = position + len(chunk), line + chunk.count(b"\n")
    except OSError as error:
        raise DataError(f"{each.path} can't be read: {error.strerror or error}") from error
    starts = [start for start in starts if start.first < position]
    if len(starts) < 2:
        return _Seen(digest.hexdigest(), [(each, size)])
    stops = [*(start.first for start in starts[1:]), position]
    stretches = [start._replace(stop=stop) for start, stop in zip(starts, stops, strict=True)]
    return _Seen(
        digest.hexdigest(), [(each._replace(stretch=stretch), stretch.size) for stretch in stretches]
    )


def _together(pieces: Sequence[tuple[Input, int]], most: int) -> Iterator[TextPart]:
    """Gathers neighbours up to `most` bytes; what has no known size stays alone."""
    gathered: list[Input] = []
    size = 0
    for each, bytes_ in pieces:
        if gathered and (size + bytes_ > most or not size or not bytes_):
            yield TextPart(tuple(gathered), size)
            gathered, size = [], 0
        gathered.append(each)
        size += bytes_
    if gathered:
        yield TextPart(tuple(gathered), size)
