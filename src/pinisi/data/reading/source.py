"""Says where text lies and how it is read: a `[[sources]]` table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pinisi.base.errors import DataError
from pinisi.base.typed_toml import Fault


@dataclass(frozen=True)
class Source:
    """Files of one kind: text, HTML, PDF (a document a file), JSON lines, Parquet, WARC, subtitles; .gz and .zst of all but
    Parquet."""

    path: str  # a file, a folder or a pattern such as crawl/*.jsonl.zst
    language: str = ""  # "" takes the record's own, or else the file's name; "auto" identifies it
    name: str = ""  # stands in each document's `source` where the record has none
    format: Literal["", "text", "jsonl", "parquet", "warc", "html", "pdf", "subtitles"] = (
        ""  # "" goes by the file's name
    )
    text_key: str = "text"

    def validate(self) -> Iterator[Fault]:
        if not self.path:
            yield Fault("path", "a file, a folder or a pattern")


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


class Skipped(Unreadable):
    """What is no text by its nature, as a picture in an archive: it is told and counted, and no reason to stop.

    group: what it is counted under, since an archive holds thousands of such.
    """

    def __init__(self, message: str, group: str) -> None:
        super().__init__(message)
        self.group = group


Trouble = Callable[[Unreadable], None]
Records = Iterator[
    tuple[str, dict[str, Any]]
]  # (":line", "@byte" or ":record" within the file, what stands there)
