"""Reads and writes JSON lines under zstd, which tasks hand to one another. The same records give the same bytes."""

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from pinisi.base.files import new_file
from pinisi.base.libraries import library
from pinisi.base.open_files import OpenFiles
from pinisi.data.documents import Document
from pinisi.data.lines import opened

LEVEL = 3
EXCERPT = 400  # characters of a dropped text that are kept


class Writers:
    """One file per name in a folder, there when it is first written to; few of them are open at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, OpenFiles(appended)

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)

    def write(self, name: str, record: dict[str, Any]) -> None:
        self._files.write(self._folder / f"{name}.jsonl.zst", _line(record))


def _line(record: dict[str, Any]) -> bytes:
    """Dates, bytes and whatever else Parquet may hold as text; so are infinity and what is no number, which JSON doesn't have."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        record = _finite(record)
        text = json.dumps(record, ensure_ascii=False, default=str)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair in a URL or in metadata, which are no text to be mended.
        return json.dumps(record, default=str).encode("ascii") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def packed(path: Path, mode: Literal["wb", "ab"] = "wb") -> IO[bytes]:
    """A new zstd file to write to."""
    zstandard = library("zstandard")
    return zstandard.open(path, mode, cctx=zstandard.ZstdCompressor(level=LEVEL))


def appended(path: Path) -> IO[bytes]:
    """A zstd file to write to, behind the frames that it has."""
    return packed(path, "ab")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file; none if there is no file."""
    if path.exists():
        with opened(path) as lines:
            for line in lines:
                yield json.loads(line)


def read_documents(path: Path) -> Iterator[Document]:
    return (Document(**record) for record in read(path))


def joined(paths: Iterable[Path], out: Path) -> None:
    """Files one behind the other: frames of zstd, so their bytes are simply put together."""
    with new_file(out) as whole:
        for path in paths:
            if path.exists():
                with path.open("rb") as part:
                    shutil.copyfileobj(part, whole, 2**22)


def drop(document: Document, stage: str, rule: str, value: Any, limit: Any = None) -> dict[str, Any]:
    """What is kept of a document that is not: enough to find it, to see it and to know why."""
    return {
        "id": document.id,
        "url": document.url,
        "language": document.language,
        "source": document.source,
        "stage": stage,
        "rule": rule,
        "value": round(value, 6) if isinstance(value, float) else value,
        "limit": round(limit, 6) if isinstance(limit, float) else limit,
        "characters": len(document.text),
        "text": document.text[:EXCERPT],
        "input": document.metadata.get("input", ""),
    }
