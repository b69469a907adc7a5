"""Finds the files of a source and cuts them into parts that can be read apart.

The cut depends on the files alone, so that the same input gives the same parts for any number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.data.lines import PACKED, packing
from pinisi.data.reading.dataset import shards_of
from pinisi.data.reading.find import find
from pinisi.data.reading.source import Part, Source

PARTS = 64  # that all input is cut into, about, so that many workers end together; of so many bytes each:
SMALLEST, LARGEST = 2**20, 64 * 2**20
FORMATS = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".warc": "warc",
    ".wet": "warc",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".srt": "subtitles",
    ".vtt": "subtitles",
}


def parts_of(sources: Sequence[Source], names: Sequence[str] | None = None) -> list[Part]:
    """All parts in a fixed order. Raises ConfigError with the key (of `names`, else sources[n].path) of a source without a file
    or with one of no known kind; DataError for what can't be looked into or reached."""
    keys = names or [f"sources[{number}].path" for number in range(len(sources))]
    found = [
        each
        for number, (key, source) in enumerate(zip(keys, sources, strict=True))
        for each in (
            shards_of(number, key, source) if source.format == "dataset" else _files(number, key, source)
        )
    ]
    most = part_size(sum(size or 0 for _, size in found))
    return [part for whole, size in found for part in _cut(whole, size, most)]


def part_size(total: int) -> int:
    """Bytes of a file of lines that one task reads."""
    return max(SMALLEST, min(LARGEST, total // PARTS))


def _files(number: int, key: str, source: Source) -> Iterator[tuple[Part, int | None]]:
    """Each file whole, and its size."""
    files = find(source.path, _format)
    if not files:
        raise ConfigError(
            f"{key} = '{source.path}': no such file; give a file, a folder or a pattern of "
            f"{', '.join(FORMATS)} files, packed as .gz or .zst or not"
        )
    for file in files:
        kind = source.format or _format(file.path)
        if not kind:
            how = "say which with format = 'text' or another, or " if key.startswith("sources") else ""
            raise ConfigError(
                f"{key}: {file.path} is of no known kind; {how}let its name end in {', '.join(FORMATS)}"
            )
        yield Part(file.path, file.name, number, kind), file.size


def _cut(whole: Part, size: int | None, most: int) -> Iterator[Part]:
    if whole.format != "jsonl" or packing(whole.path) or size is None or size <= most:
        yield whole
        return
    for first in range(0, size, most):
        yield replace(whole, first=first, stop=min(first + most, size))


def _format(name: str) -> str:
    """What a file is by its name, in letters of either case; "" if that doesn't tell."""
    name = name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return FORMATS.get(Path(name).suffix, "")
