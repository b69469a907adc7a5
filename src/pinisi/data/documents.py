"""Documents and the JSON-lines files that hold them: one document a line, one file a language."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pinisi.errors import DataError

SUFFIX = ".jsonl"


@dataclass
class Document:
    """A text and where it comes from; no later step may lose id and url."""

    id: str
    text: str
    language: str
    url: str = ""
    source: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def corpus_files(folder: str | Path) -> dict[str, Path]:
    """{language: its file} of a corpus folder, in alphabetical order of language.

    Raises DataError if the folder is missing or has no `<language>.jsonl`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no corpus folder {folder}: give the folder that holds <language>.jsonl files")
    files = {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob("*" + SUFFIX))}
    if not files:
        raise DataError(
            f"{folder} holds no <language>.jsonl file: put one JSON object with 'text' on each line"
        )
    return files


def read_documents(path: str | Path, language: str | None = None) -> Iterator[Document]:
    """The documents of one file, one at a time. An `id` that is missing becomes `<file>:<line>`.

    Raises DataError that names file and line: not UTF-8, not JSON, not an object, no text.
    """
    path = Path(path)
    language = language or path.name.removesuffix(SUFFIX)
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if raw.strip():
                yield _parse(raw, f"{path}:{number}", f"{path.name}:{number}", language)


def _parse(raw: bytes, place: str, name: str, language: str) -> Document:
    try:
        record = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: not JSON ({error.msg} at column {error.colno}); each line must be one JSON object"
        ) from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: got a JSON {type(record).__name__}, needed an object with the key 'text'")
    text = record.get("text")
    if not isinstance(text, str):
        found = "no key 'text'" if "text" not in record else f"'text' is a {type(text).__name__}"
        raise DataError(f"{place}: {found}; each document needs its text as a string under 'text'")
    return Document(
        id=str(record.get("id") or name),
        text=text,
        language=str(record.get("language") or language),
        url=str(record.get("url") or ""),
        source=str(record.get("source") or ""),
        metadata=record.get("metadata") or {},
    )


def write_documents(path: str | Path, documents: Iterable[Document]) -> int:
    """Writes all documents to `path`, which appears only when complete. Returns how many there were."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            for count, document in enumerate(documents, 1):  # noqa: B007
                out.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or fix the rights"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return count
