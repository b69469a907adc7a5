"""Token shards: for each language one file of tokens and one of document bounds, under one index.

<language>.tokens       uint32, little-endian: all documents after one another, each with its end token
<language>.documents    int64, little-endian [n + 1]: document i is tokens[bounds[i] : bounds[i + 1]]
<language>.names        JSON lines: [id, url] of each document
index.json              counts per language and the fingerprint of all that made the shards
"""

import json
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.errors import DataError

INDEX = "index.json"
TOKEN_DTYPE = np.dtype("<u4")
BOUND_DTYPE = np.dtype("<i8")
FORMAT = 1  # raise it when the files' meaning changes: it is part of the fingerprint


class Shard(NamedTuple):
    """One language: tokens [n], memory-mapped, and the bounds [documents + 1] of its documents."""

    tokens: np.ndarray
    bounds: np.ndarray


class Span(NamedTuple):
    """What a token of a shard belongs to."""

    document: int
    id: str
    url: str
    start: int  # the document's first token in the shard
    stop: int  # one past its last


class Shards:
    """A folder of token shards, opened without reading it.

    Raises DataError if the folder is no shards folder or its files do not agree with its index.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.index: dict[str, Any] = read_index(self.folder)
        self._open: dict[str, Shard] = {}

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Codes in alphabetical order; `Microbatch.languages` counts in this order."""
        return tuple(sorted(self.index["languages"]))

    @property
    def fingerprint(self) -> str:
        return self.index["fingerprint"]

    @property
    def end_of_document(self) -> int:
        return self.index["end_of_document"]

    def counts(self, language: str) -> dict[str, Any]:
        """documents, tokens, characters, bytes, predicted_bytes, dropped."""
        if language not in self.index["languages"]:
            raise DataError(f"{self.folder} has no language '{language}'; it has {', '.join(self.languages)}")
        return self.index["languages"][language]

    def shard(self, language: str) -> Shard:
        if language not in self._open:
            counts = self.counts(language)
            tokens = self._map(f"{language}.tokens", TOKEN_DTYPE, counts["tokens"])
            bounds = self._map(f"{language}.documents", BOUND_DTYPE, counts["documents"] + 1)
            self._open[language] = Shard(tokens, np.asarray(bounds))
        return self._open[language]

    def _map(self, name: str, dtype: np.dtype, length: int) -> np.ndarray:
        path = self.folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != length * dtype.itemsize:
            raise DataError(
                f"{path} has {size} bytes, its index says {length * dtype.itemsize}; tokenize again"
            )
        return np.memmap(path, dtype=dtype, mode="r", shape=(length,))


def read_index(folder: str | Path) -> dict[str, Any]:
    """The index of a shards folder. Raises DataError if it is missing, broken or of another format."""
    path = Path(folder) / INDEX
    if not path.is_file():
        raise DataError(f"{folder} holds no token shards ({INDEX} is missing); tokenize the corpus first")
    try:
        index = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); tokenize again") from None
    if index.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {index.get('format')}, this version reads {FORMAT}; tokenize again"
        )
    return index


def decode_span(shards: Shards | str | Path, language: str, position: int) -> Span:
    """The document, with id and URL, that token `position` of a language's shard belongs to."""
    shards = shards if isinstance(shards, Shards) else Shards(shards)
    bounds = shards.shard(language).bounds
    if not 0 <= position < bounds[-1]:
        raise DataError(
            f"{language} has tokens 0 to {bounds[-1] - 1} in {shards.folder}, position {position} is none"
        )
    number = int(np.searchsorted(bounds, position, side="right")) - 1
    with (shards.folder / f"{language}.names").open(encoding="utf-8") as names:
        id, url = json.loads(next(islice(names, number, None)))
    return Span(number, id, url, int(bounds[number]), int(bounds[number + 1]))
