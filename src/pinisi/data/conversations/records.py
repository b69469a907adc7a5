"""Reads the records of chat files: JSON lines, a JSON list, Parquet, each packed or not, or a data set of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pinisi.base.errors import DataError
from pinisi.base.paths import SOURCE
from pinisi.base.typed_toml import Fault
from pinisi.data.conversations.messages import RejectedChat
from pinisi.data.languages import is_code
from pinisi.data.lines import opened, packing, read_lines
from pinisi.data.reading.find import find
from pinisi.data.reading.source import Part, Source

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class ChatSource:
    """[[task.sources]] says where chats lie: a file, a folder or a pattern; or, with format = "dataset", a data set."""

    # .jsonl, .json, .parquet, packed as .gz or .zst or not; with format = "dataset" a data set of the hub, or one in a folder
    path: str = field(metadata=SOURCE)
    name: str = ""  # what a mixture's weights name; the path's last part if left out
    language: str = ""  # of its chats; the record's own, or else the file's name, if left out
    format: Literal["", "dataset"] = ""  # "" goes by the file's name
    config: str = ""  # of a data set: one of its configurations
    split: str = ""  # of a data set; train if left out
    revision: str = ""  # of a data set: a commit, so that a later run reads the same

    @property
    def called(self) -> str:
        """Returns its name, or what it is called by its path."""
        return self.name or Path(self.path).name.split(".")[0] or self.path

    def validate(self) -> Iterator[Fault]:
        if not self.path:
            yield Fault("path", "a file, a folder, a pattern or a data set")
        for key in ("config", "split", "revision"):
            if getattr(self, key) and self.format != "dataset":
                yield Fault(key, 'left out, or format = "dataset", which it belongs to')


class ChatRecord(NamedTuple):
    """Holds a record and where it stands. value: what is there, or why it can't be read. language: as the file's name has it."""

    file: str
    line: int
    value: Any
    language: str


def chat_files(source: ChatSource) -> list[Part]:
    """Finds a source's files, or the shards of its data set, in a fixed order. Raises DataError if there are none."""
    if source.format == "dataset":
        from pinisi.data.reading.dataset import shards_of

        return [part for part, _ in shards_of(0, "path", _as_source(source))]
    found = find(source.path, _kind)
    if not found:
        raise DataError(
            f"{source.path}: no file of chats; give a file, a folder or a pattern of {', '.join(KINDS)} files, packed as .gz or "
            ".zst or not"
        )
    unknown = [file.path for file in found if not _kind(file.path)]
    if unknown:
        raise DataError(f"{unknown[0]} is of no known kind; let its name end in {', '.join(KINDS)}")
    return [Part(file.path, file.name, 0, _kind(file.path)) for file in found]


def records_of(
    part: Part, source: ChatSource, progress: Callable[[int], None] | None = None
) -> Iterator[ChatRecord]:
    """Reads a file's records; one that can't be read has a RejectedChat as its value. Raises DataError for a file that is cut off.

    progress: is told how many bytes of a file of lines have been read.
    """
    stem = Path(part.path).name.split(".")[0]
    language = source.language or (stem if is_code(stem) and part.format != "dataset" else "")
    for line, value in _READERS[part.format](part, source, progress):
        yield ChatRecord(part.path, line, value, language)


def _jsonl(
    part: Part, source: ChatSource, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(read_lines(part.path, progress), 1):
        if line.strip():
            yield number, _parsed(line)


def _json(
    part: Part, source: ChatSource, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Any]]:
    """The items of a list; lines where the file is none, as some data sets name such files."""
    with opened(part.path) as file:
        begins = file.peek(64).lstrip()[:1]  # type: ignore[attr-defined]
        if begins == b"[":
            whole = _parsed(file.read())
            if isinstance(whole, RejectedChat):
                raise DataError(f"{part.path}: {whole}: needed a JSON list of records, or one record a line")
            yield from enumerate(whole, 1)
            return
    yield from _jsonl(part, source, progress)


def _parquet(
    part: Part, source: ChatSource, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Any]]:
    from pinisi.data.reading.parquet import parquet

    yield from _rows(parquet(part, _as_source(source), _raise))


def _dataset(
    part: Part, source: ChatSource, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Any]]:
    from pinisi.data.reading.dataset import dataset

    yield from _rows(dataset(part, _as_source(source), _raise))


_READERS = {"jsonl": _jsonl, "json": _json, "parquet": _parquet, "dataset": _dataset}


def _rows(records: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[int, Any]]:
    for place, record in records:
        yield int(place.lstrip(":")), record


def _raise(error: DataError) -> None:
    raise error


def _as_source(source: ChatSource) -> Source:
    return Source(
        source.path,
        format=source.format,
        config=source.config,
        split=source.split,
        revision=source.revision,
    )


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return RejectedChat("not UTF-8", f"byte {error.start}")
    except json.JSONDecodeError as error:
        return RejectedChat("not JSON", f"{error.msg} at column {error.colno}")
    except RecursionError:
        return RejectedChat("not JSON", "nested too deep")


def _kind(name: str) -> str:
    name = name.lower()
    return KINDS.get(Path(name[: len(name) - len(packing(name))]).suffix, "")
