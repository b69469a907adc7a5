"""Finds the files of a source and cuts them into parts that can be read apart.

The cut depends on the files alone, so that the same input gives the same parts for any number of workers.
"""

import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.data.lines import PACKED
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
    or with one of no known kind."""
    keys = names or [f"sources[{number}].path" for number in range(len(sources))]
    found = [
        each
        for number, (key, source) in enumerate(zip(keys, sources, strict=True))
        for each in _files(number, key, source)
    ]
    most = part_size(sum(Path(whole.path).stat().st_size for whole in found))
    return [part for whole in found for part in _cut(whole, most)]


def part_size(total: int) -> int:
    """Bytes of a file of lines that one task reads."""
    return max(SMALLEST, min(LARGEST, total // PARTS))


def _files(number: int, key: str, source: Source) -> Iterator[Part]:
    path = Path(source.path)
    if path.is_dir():
        names, base = [str(each) for each in path.rglob("*") if _format(each.name)], path
    else:
        names = glob.glob(source.path, recursive=True)
        base = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
    names = [name for name in names if Path(name).is_file()]
    if not names:
        raise ConfigError(
            f"{key} = '{source.path}': no such file; give a file, a folder or a pattern of "
            f"{', '.join(FORMATS)} files, packed as .gz or .zst or not"
        )
    for name in sorted(names):
        kind = source.format or _format(name)
        if not kind:
            how = "say which with format = 'text' or another, or " if key.startswith("sources") else ""
            raise ConfigError(
                f"{key}: {name} is of no known kind; {how}let its name end in {', '.join(FORMATS)}"
            )
        inside = Path(name).relative_to(base)
        yield Part(name, (base.resolve().name / inside).as_posix(), number, kind)


def _cut(whole: Part, most: int) -> Iterator[Part]:
    size = Path(whole.path).stat().st_size
    if whole.format != "jsonl" or whole.path.endswith(PACKED) or size <= most:
        yield whole
        return
    for first in range(0, size, most):
        yield replace(whole, first=first, stop=min(first + most, size))


def _format(name: str) -> str:
    for ending in PACKED:
        name = name.removesuffix(ending)
    return FORMATS.get(Path(name).suffix, "")


def fingerprint(parts: list[Part]) -> str:
    """Changes when a file does: by name, size and time of change."""
    digest = hashlib.sha256()
    for part in parts:
        status = Path(part.path).stat()
        digest.update(
            json.dumps(
                [part.path, part.format, part.first, part.stop, status.st_size, status.st_mtime_ns]
            ).encode()
        )
    return digest.hexdigest()
