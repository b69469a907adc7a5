"""Token shards: for each language one file of tokens and one of document bounds, under one index.

<language>.tokens       uint32, little-endian: all documents after one another, each with its end token (and BOS before, where
                        the index names one)
<language>.documents    int64, little-endian [n + 1]: document i is tokens[bounds[i] : bounds[i + 1]]
<language>.names        JSON lines: [id, url, source, metadata] of each document
<language>.name_bounds  int64, little-endian [n + 1]: document i is bytes [bounds[i] : bounds[i + 1]] of .names
tokenizer.json          the tokenizer, so that tokens can be read again
index.json              counts per language, the fingerprint of all that made the shards, and each file's digest
"""

import json
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.data.document_files import BOUND_DTYPE, TOKEN_DTYPE, DocumentFiles, OpenFiles, TokenFile
from pinisi.data.languages import is_code

INDEX = "index.json"
TOKENIZER = "tokenizer.json"
FORMAT = (
    2  # raise it when files come, go or change their form; 2 added source, metadata, name_bounds, tokenizer
)
OPEN = 40  # languages whose two files are mapped at once; a process has 256 handles on some systems
CONTENT = 1  # raise it when the same text would give other tokens: it is part of the fingerprint


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
    source: str
    metadata: dict[str, Any]


class Shards:
    """A folder of token shards, opened without reading it.

    Raises DataError if the folder is no shards folder or its files do not agree with its index.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.index: dict[str, Any] = read_index(self.folder)
        self._open: OrderedDict[str, Shard] = OrderedDict()  # the last used at the end
        self._read = OpenFiles()

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

    @property
    def bos(self) -> int | None:
        """The token that each document begins with; None in shards without."""
        return self.index.get("bos")

    def counts(self, language: str) -> dict[str, Any]:
        """documents, tokens, characters, bytes, predicted_bytes, dropped, altered (see tokenize)."""
        if language not in self.index["languages"]:
            raise DataError(f"{self.folder} has no language '{language}'; it has {', '.join(self.languages)}")
        return self.index["languages"][language]

    def shard(self, language: str) -> Shard:
        """A language's tokens and bounds. Of many languages those that were used last stay open: a map takes a file handle."""
        if language in self._open:
            self._open.move_to_end(language)
        else:
            counts = self.counts(language)
            tokens = self._map(f"{language}.tokens", TOKEN_DTYPE, counts["tokens"])
            bounds = self._map(f"{language}.documents", BOUND_DTYPE, counts["documents"] + 1)
            self._open[language] = Shard(tokens, np.asarray(bounds))
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return self._open[language]

    def files(self, language: str) -> DocumentFiles:
        """A language's documents by number, read where they are asked for: what a sampler draws from."""
        counts = self.counts(language)
        file = TokenFile(language, counts["documents"], counts["tokens"])
        self._map(f"{language}.tokens", TOKEN_DTYPE, file.tokens)  # raises DataError if its size is wrong
        self._map(f"{language}.documents", BOUND_DTYPE, file.documents + 1)
        return DocumentFiles(self.folder, [file], self._read)

    def name(self, language: str, document: int) -> tuple[str, str, str, dict[str, Any]]:
        """(id, url, source, metadata) of a language's document by number; reads no other's."""
        bounds = self._map(f"{language}.name_bounds", BOUND_DTYPE, self.counts(language)["documents"] + 1)
        first, stop = int(bounds[document]), int(bounds[document + 1])
        path = self.folder / f"{language}.names"
        try:
            with path.open("rb") as names:
                names.seek(first)
                id, url, source, metadata = json.loads(names.read(stop - first))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} does not agree with its bounds ({error}); tokenize again") from None
        return id, url, source, metadata

    def damage(self, share: int = 0, shares: int = 1) -> str | None:
        """Reads this share of the files whole; returns what is wrong with the first that is not as it was written.

        Shards of before there were digests have none, and pass.
        """
        return digests.damage(self.folder, self.index.get("files", {}), share, shares)

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
    if not isinstance(index, dict):
        raise DataError(f"{path} holds a JSON {type(index).__name__}, not an object; tokenize again")
    if index.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {index.get('format')}, this version reads {FORMAT}; tokenize again"
        )
    for language in index.get("languages", ()):  # files are named after it
        if not is_code(str(language)):
            raise DataError(
                f"{path} has the language {language!r}, which is no language's code (BCP 47: id, zh-Hans, ...); tokenize again"
            )
    if index.get("digest", own := digests.of_index(index)) != own:
        raise DataError(
            f"{path} is damaged: its digest is another one than it was written with; tokenize again"
        )
    return index


def decode_span(shards: Shards | str | Path, language: str, position: int) -> Span:
    """The document, with id, URL, source and metadata, that token `position` of a language's shard belongs to."""
    shards = shards if isinstance(shards, Shards) else Shards(shards)
    bounds = shards.shard(language).bounds
    if not 0 <= position < bounds[-1]:
        raise DataError(
            f"{language} has tokens 0 to {bounds[-1] - 1} in {shards.folder}, position {position} is none"
        )
    number = int(np.searchsorted(bounds, position, side="right")) - 1
    id, url, source, metadata = shards.name(language, number)
    return Span(number, id, url, int(bounds[number]), int(bounds[number + 1]), source, metadata)
