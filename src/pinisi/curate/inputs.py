"""Raw input, cut into parts that can be read apart, and the documents of a part.

The cut depends on the files alone, so that the same input gives the same parts for any number of workers.
"""

import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.libraries import library
from pinisi.curate.config import Source
from pinisi.data.documents import Document
from pinisi.data.lines import PACKED, opened, unpacking_errors

PARTS = 64  # that all input is cut into, about, so that many workers end together; of so many bytes each:
SMALLEST, LARGEST = 2**20, 64 * 2**20
OWN = ("input", "lineage", "quality")  # keys of a document's metadata that curation writes
_DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, *unpacking_errors())
LINE = 64 * 2**20  # a longer line is not held in memory
FORMATS = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".warc": "warc",
}


@dataclass(frozen=True)
class Part:
    """Bytes first to stop of a file of lines, or (stop None) the whole of any file. name: the path from the source's folder on,
    enough to find it, and no more of where it lay."""

    path: str
    name: str
    source: int  # index of the [[sources]] table
    format: str
    first: int = 0
    stop: int | None = None


class Unreadable(DataError):
    """What can't be read: one line or record, after which reading goes on, or the rest of a file."""


Trouble = Callable[[Unreadable], None]


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


def documents_of(part: Part, source: Source, trouble: Trouble) -> Iterator[Document]:
    """The documents of a part, each with id, URL, source and metadata. What can't be read is told to `trouble`."""
    for place, record in _READERS[part.format](part, source, trouble):
        text = record.get(source.text_key)
        if not isinstance(text, str):
            what = "no text" if text is None else f"a {type(text).__name__} as text"
            trouble(Unreadable(f"{part.path}{place}: {what} under '{source.text_key}'"))
            continue
        name = record.get("id")
        yield Document(
            id=f"{part.name}{place}" if name is None or name == "" else str(name),
            text=text,
            language=source.language or str(record.get("language") or Path(part.path).name.split(".")[0]),
            url=str(record.get("url") or ""),
            source=str(record.get("source") or source.name or Path(part.path).stem),
            metadata={**_metadata(record, source), "input": f"{part.name}{place}"},
        )


def _metadata(record: dict[str, Any], source: Source) -> dict[str, Any]:
    """All that a record says besides. What stands where curation writes its own goes into "original"."""
    given = record.get("metadata")
    known = {"id", "url", "language", "source", "metadata", source.text_key}
    found = {key: value for key, value in record.items() if key not in known}
    original: dict[str, Any] = {}
    if isinstance(given, dict):
        found = {**given, **found}
    elif given is not None:
        original["metadata"] = given
    for key in OWN:
        if key in found and not (key == "lineage" and _is_lineage(found[key])):
            original[key] = found.pop(key)
    if source.language and record.get("language") not in (None, "", source.language):
        original["language"] = record["language"]
    if original:
        before = found.get("original", {})
        found["original"] = {**(before if isinstance(before, dict) else {"original": before}), **original}
    return found


def _is_lineage(value: Any) -> bool:
    """What an earlier curation wrote, to which this one adds."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _lines(part: Part, trouble: Trouble) -> Iterator[tuple[str, bytes]]:
    """(":line" or "@byte", line) of a part: those that begin in it."""
    at, number = 0, 0
    try:
        with opened(part.path) as file:
            if part.first:  # the line that the part before reaches into belongs to that one
                file.seek(part.first - 1)
                at = part.first - 1 + _skip(file)
            while part.stop is None or at < part.stop:
                line = file.readline(LINE)
                if not line:
                    return
                number += 1
                place = f":{number}" if part.stop is None else f"@{at}"
                at += len(line)
                if len(line) == LINE and not line.endswith(b"\n"):
                    at += _skip(file)
                    trouble(Unreadable(f"{part.path}{place}: a line of more than {LINE // 2**20} MiB"))
                elif line.strip():
                    yield place, line
    except _DAMAGE as error:
        what = str(error) or "the packed data end too early"
        trouble(
            Unreadable(
                f"{part.path}: cut off or damaged behind line {number} ({what}); the lines before it are used"
            )
        )


def _skip(file: IO[bytes]) -> int:
    """Bytes up to the end of the line."""
    count = 0
    while piece := file.readline(2**20):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count


def _jsonl(part: Part, source: Source, trouble: Trouble) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, line in _lines(part, trouble):
        try:
            record = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            trouble(Unreadable(f"{part.path}{place}: byte {error.start} of the line is not UTF-8"))
            continue
        except ValueError as error:
            trouble(Unreadable(f"{part.path}{place}: not JSON ({error})"))
            continue
        except RecursionError:
            trouble(Unreadable(f"{part.path}{place}: JSON nested too deep"))
            continue
        if isinstance(record, dict):
            yield place, record
        else:
            trouble(Unreadable(f"{part.path}{place}: a JSON {type(record).__name__} instead of an object"))


def _text(part: Part, source: Source, trouble: Trouble) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with opened(part.path) as file:
            text = file.read(LINE + 1)
    except _DAMAGE as error:
        trouble(Unreadable(f"{part.path}: can't be read ({error})"))
        return
    if len(text) > LINE:
        trouble(Unreadable(f"{part.path}: more than {LINE // 2**20} MiB in one document; make it JSON lines"))
        return
    try:
        yield "", {source.text_key: text.decode("utf-8")}
    except UnicodeDecodeError as error:
        trouble(Unreadable(f"{part.path}: byte {error.start} is not UTF-8"))


def _parquet(part: Part, source: Source, trouble: Trouble) -> Iterator[tuple[str, dict[str, Any]]]:
    pyarrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(part.path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for record in batch.to_pylist():
                    number += 1
                    yield f":{number}", record
    except (pyarrow.ArrowException, OSError) as error:
        trouble(Unreadable(f"{part.path}: damaged behind row {number} ({str(error).splitlines()[0]})"))


def _warc(part: Part, source: Source, trouble: Trouble) -> Iterator[tuple[str, dict[str, Any]]]:
    """Responses (HTML, unpacked by their own charset) and conversions (.wet: text)."""
    archive, damage = library("warcio.archiveiterator"), library("warcio.exceptions").ArchiveLoadFailed
    number = 0
    try:
        with open(part.path, "rb") as file:
            for record in archive.ArchiveIterator(file):
                number += 1
                if record.rec_type not in ("response", "conversion"):
                    continue
                content, headers = record.content_stream().read(LINE), record.http_headers
                kind = headers.get_header("Content-Type", "") if headers else "text/plain"
                if not kind.startswith("text/"):
                    continue
                charset = kind.partition("charset=")[2].split(";")[0].strip().strip('"') or "utf-8"
                try:
                    text = content.decode(charset)
                except (UnicodeDecodeError, LookupError) as error:
                    trouble(Unreadable(f"{part.path}:{number}: {error}"))
                    continue
                of = record.rec_headers
                found = {"id": of.get_header("WARC-Record-ID"), "url": of.get_header("WARC-Target-URI")}
                yield f":{number}", {**found, source.text_key: text, "date": of.get_header("WARC-Date")}
    except (damage, EOFError, OSError) as error:
        trouble(Unreadable(f"{part.path}: damaged behind record {number} ({error})"))


_READERS = {"jsonl": _jsonl, "text": _text, "parquet": _parquet, "warc": _warc}
