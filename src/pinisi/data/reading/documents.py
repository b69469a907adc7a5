"""Reads the documents of a part, each with id, URL, source and metadata."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pinisi.data.documents import Document
from pinisi.data.lines import LINE, packing
from pinisi.data.reading.dataset import dataset
from pinisi.data.reading.files import jsonl, text
from pinisi.data.reading.html import html
from pinisi.data.reading.parquet import parquet
from pinisi.data.reading.pdf import pdf
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.reading.subtitles import subtitles
from pinisi.data.reading.warc import warc

OWN = ("input", "lineage", "quality", "bits", "bucket")  # keys of a document's metadata that curation writes
DEEPEST = (
    100  # lists and objects within one another in metadata; what is written later must not run out of stack
)
IDENTIFY = "auto"  # the language of a data set's rows that don't say theirs


def documents_of(part: Part, source: Source, trouble: Trouble) -> Iterator[Document]:
    """The documents of a part, each with id, URL, source and metadata. What can't be read is told to `trouble`."""
    for place, record in READERS[part.format](part, source, trouble):
        text = _text(record, source.text_key)
        if problem := _problem(text, record, source):
            trouble(Unreadable(f"{_shown(part)}{place}: {problem}"))
            continue
        name = record.get("id")
        yield Document(
            id=f"{part.name}{place}" if name is None or name == "" else str(name),
            text=text,
            language=source.language or str(record.get("language") or _language(part)),
            url=str(record.get("url") or ""),
            source=str(record.get("source") or source.name or _source(part)),
            metadata={**_metadata(record, source), "input": f"{part.name}{place}"},
        )


def _text(record: dict[str, Any], key: str) -> Any:
    """What stands under a key, or under "a.b" in the object under "a"."""
    if key in record or "." not in key:
        return record.get(key)
    outer, _, inner = key.partition(".")
    within = record.get(outer)
    return _text(within, inner) if isinstance(within, dict) else None


def _problem(text: Any, record: dict[str, Any], source: Source) -> str:
    """Why a record is no document, or ""."""
    if not isinstance(text, str):
        what = "no text" if text is None else f"a {type(text).__name__} as text"
        return f"{what} under '{source.text_key}'"
    if len(text) > LINE:
        return f"a text of more than {LINE // 2**20} Mi characters"
    return f"metadata nested more than {DEEPEST} deep" if _deep(record) else ""


def _deep(record: dict[str, Any]) -> bool:
    level: list[Any] = [record]
    for _ in range(DEEPEST):
        inner = [value for each in level for value in (each.values() if isinstance(each, dict) else each)]
        level = [value for value in inner if isinstance(value, dict | list | tuple)]
        if not level:
            return False
    return True


def _shown(part: Part) -> str:
    return part.name if part.format == "dataset" else part.path


def _language(part: Part) -> str:
    return IDENTIFY if part.format == "dataset" else Path(part.path).name.split(".")[0]


def _source(part: Part) -> str:
    """A data set's name, or a file's without its endings."""
    if part.format == "dataset":
        return part.name.rsplit("/", 3)[0].partition("@")[0]  # behind it: configuration, split, shard
    name = Path(part.path).name
    return Path(name[: len(name) - len(packing(name))]).stem


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


READERS: dict[str, Callable[[Part, Source, Trouble], Records]] = {
    "jsonl": jsonl,
    "text": text,
    "parquet": parquet,
    "warc": warc,
    "dataset": dataset,
    "html": html,
    "pdf": pdf,
    "subtitles": subtitles,
}
