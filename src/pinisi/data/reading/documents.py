"""Reads the documents of a part, each with id, URL, source and metadata."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pinisi.data.documents import Document
from pinisi.data.reading.files import jsonl, parquet, text
from pinisi.data.reading.html import html
from pinisi.data.reading.pdf import pdf
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.reading.subtitles import subtitles
from pinisi.data.reading.warc import warc

OWN = ("input", "lineage", "quality")  # keys of a document's metadata that curation writes


def documents_of(part: Part, source: Source, trouble: Trouble) -> Iterator[Document]:
    """The documents of a part, each with id, URL, source and metadata. What can't be read is told to `trouble`."""
    for place, record in READERS[part.format](part, source, trouble):
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


READERS: dict[str, Callable[[Part, Source, Trouble], Records]] = {
    "jsonl": jsonl,
    "text": text,
    "parquet": parquet,
    "warc": warc,
    "html": html,
    "pdf": pdf,
    "subtitles": subtitles,
}
