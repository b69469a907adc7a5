"""Reads and writes documents in JSON lines: one document a line, one file a language, packed or not."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.base.files import new_file
from pinisi.data.lines import PACKED, Stretch, read_lines

SUFFIX = ".jsonl"
SUFFIXES = (SUFFIX, *(SUFFIX + packed for packed in PACKED))


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

    Raises DataError if the folder is missing, has no `<language>.jsonl` (or .jsonl.gz, .jsonl.zst), or has
    two files of one language.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no corpus folder {folder}: give the folder that holds <language>.jsonl files")
    paths = [
        path for path in folder.iterdir() if not path.name.startswith(".")
    ]  # what others are writing, or a Mac beside it
    found = [path for path in paths if path.name.lower().endswith(SUFFIXES)]
    files: dict[str, Path] = {}
    for path in sorted(found, key=lambda path: (language_of(path), path.name)):
        language = language_of(path)
        if language in files:
            raise DataError(
                f"{folder} holds {files[language].name} and {path.name}, both of language '{language}'; "
                "keep one of them, or join them"
            )
        files[language] = path
    if not files:
        raise DataError(
            f"{folder} holds no <language>.jsonl file (.jsonl.gz, .jsonl.zst): "
            "put one JSON object with 'text' on each line"
        )
    return files


def language_of(path: Path) -> str:
    """What a file's name says: the part before .jsonl, .jsonl.gz, .jsonl.zst."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def read_documents(
    path: str | Path,
    language: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
    stretch: Stretch | None = None,
) -> Iterator[Document]:
    """The documents of one file (.jsonl, .jsonl.gz, .jsonl.zst), one at a time.

    An `id` that is missing becomes `<file>:<line>`. progress: is told the bytes of the file read so far. stretch: reads
    those lines alone; a document has the same name as in the whole file.
    Raises DataError that names file and line: not UTF-8, not JSON, not an object, no text, cut off.
    """
    path = Path(path)
    language = language or language_of(path)
    for number, raw in enumerate(read_lines(path, progress, stretch), 1 if stretch is None else stretch.line):
        if raw.strip():
            yield _parse(raw, f"{path}:{number}", f"{path.name}:{number}", language)


def _parse(raw: bytes, place: str, name: str, language: str) -> Document:
    try:
        record = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8"
        ) from None
    except RecursionError:
        raise DataError(f"{place}: JSON nested too deep") from None
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
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: character {error.start} of the text is half a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}), no character; remove it first"
        ) from None
    return Document(
        id=name if record.get("id") in (None, "") else str(record["id"]),
        text=text,
        language=str(record.get("language") or language),
        url=str(record.get("url") or ""),
        source=str(record.get("source") or ""),
        metadata=record.get("metadata") or {},
    )


def write_documents(path: str | Path, documents: Iterable[Document]) -> int:
    """Writes all documents to `path`, which appears only when complete. Returns how many there were."""
    path = Path(path)
    count = 0
    try:
        with new_file(path) as out:
            for count, document in enumerate(documents, 1):  # noqa: B007
                out.write(json.dumps(asdict(document), ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or fix the rights"
        ) from error
    return count
