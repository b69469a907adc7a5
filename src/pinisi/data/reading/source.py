"""Says where text lies and how it is read: a `[[sources]]` table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pinisi.base.errors import DataError
from pinisi.base.paths import SOURCE
from pinisi.base.typed_toml import Fault
from pinisi.data.languages import is_code


@dataclass(frozen=True)
class Source:
    """Files of one kind: text, HTML, PDF (a document a file), JSON lines, Parquet, WARC, subtitles; .gz and .zst of all but
    Parquet. Or a data set.

    format "dataset": `path` is a data set of the Hugging Face Hub, "org/name", or a folder that holds one; it is streamed, and
    none of its code is run.
    """

    # a file, a folder, a pattern such as crawl/*.jsonl.zst, or any of these behind a URL: s3://bucket/crawl/*.jsonl.zst
    path: str = field(metadata=SOURCE)
    language: str = ""  # "" takes the record's own, or else the file's name; "auto" identifies it
    name: str = ""  # stands in each document's `source` where the record has none
    format: Literal["", "text", "jsonl", "parquet", "warc", "html", "pdf", "subtitles", "dataset"] = (
        ""  # "" goes by the file's name
    )
    text_key: str = "text"  # "message.content" looks in the object under "message"
    config: str = ""  # of a data set: one of its configurations
    split: str = ""  # of a data set; "" is train
    revision: str = ""  # of a data set: a commit, so that a later run reads the same

    def validate(self) -> Iterator[Fault]:
        if not self.path:
            yield Fault("path", "a file, a folder, a pattern or a URL")
        if self.language not in ("", "auto") and not is_code(self.language):
            yield Fault("language", "a language's code (BCP 47: id, zh-Hans, ...), auto, or none")
        for key in ("config", "split", "revision"):
            if getattr(self, key) and self.format != "dataset":
                yield Fault(key, "left out, or format = 'dataset', which it belongs to")


@dataclass(frozen=True)
class Part:
    """Bytes first to stop of a file of lines, or (stop None) the whole of any file. Of a data set: shard `first` of `stop`.
    name: the path from the source's folder on, enough to find it, and no more of where it lay."""

    path: str  # here, or a URL; of a data set what stands in the source, @ and the commit where it is known
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
