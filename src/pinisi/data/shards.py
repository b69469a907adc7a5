"""Reads token shards: many files under one index, so that many can write them and no file is too large.

<part>/<language>.tokens       uint32, little-endian: documents after one another, each with its end token (and BOS before, where
                               the index names one)
<part>/<language>.documents    int64, little-endian [n + 1]: document i is tokens[bounds[i] : bounds[i + 1]]
<part>/<language>.names        JSON lines: [id, url, source, metadata] of each document
<part>/<language>.name_bounds  int64, little-endian [n + 1]: document i is bytes [bounds[i] : bounds[i + 1]] of .names
tokenizer.json                 the tokenizer, so that tokens can be read again
index.json                     counts and files per language, the fingerprint of all that made the shards, and each file's digest

A part (00000, 00001, ...) is what one task of tokenizing wrote. A language's documents and tokens are numbered over its files in
the order of the index, which is that of the text: how it was cut into parts changes no number. In format 2 a language has one file,
<language>.tokens and so on, in the folder itself.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base import digests, json_text
from pinisi.base.errors import DataError
from pinisi.data.document_files import DocumentFiles, OpenDocumentFiles, TokenFile
from pinisi.data.languages import is_code

INDEX = "index.json"
TOKENIZER = "tokenizer.json"
FORMAT = 3  # raise it when files come, go or change their form; 3 added parts
READ = (2, FORMAT)
CONTENT = 1  # raise it when the same text would give other tokens: it is part of the fingerprint


class Shard(NamedTuple):
    """Holds one language: tokens [n] and the bounds [documents + 1] of its documents."""

    tokens: np.ndarray
    bounds: np.ndarray


class DocumentSpan(NamedTuple):
    """What a token of a shard belongs to."""

    document: int
    id: str
    url: str
    start: int  # the document's first token in the shard
    stop: int  # one past its last
    source: str
    metadata: dict[str, Any]


class TokenShards:
    """A folder of token shards, opened without reading it.

    Raises DataError if the folder is no shards folder or its files do not agree with its index.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.index: dict[str, Any] = read_index(self.folder)
        self._opened = OpenDocumentFiles()
        self._files: dict[str, DocumentFiles] = {}

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

    def files(self, language: str) -> DocumentFiles:
        """A language's documents by number, read where they are asked for. Raises DataError if a file's size is not the index'."""
        if language not in self._files:
            files = files_of(self.counts(language), language)
            self._files[language] = DocumentFiles(self.folder, files, self._opened)
        return self._files[language]

    def shard(self, language: str) -> Shard:
        """A language whole: mapped where it has one file, else in memory. For large ones take `files`."""
        return Shard(*self.files(language).whole())

    def name(self, language: str, document: int) -> tuple[str, str, str, dict[str, Any]]:
        """(id, url, source, metadata) of a language's document by number; reads no other's."""
        line, path = self.files(language).name(document)
        try:
            id, url, source, metadata = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path} does not agree with its bounds ({error}); tokenize again") from None
        return id, url, source, metadata

    def damage(self, share: int = 0, shares: int = 1) -> str | None:
        """Reads this share of the files whole; returns what is wrong with the first that is not as it was written.

        TokenShards of before there were digests have none, and pass.
        """
        return digests.damage(self.folder, self.index.get("files", {}), share, shares)


def files_of(counts: dict[str, Any], language: str) -> list[TokenFile]:
    """Returns the files of a language from what an index says of it: one in the folder itself in format 2."""
    if "files" not in counts:
        return [TokenFile(language, counts["documents"], counts["tokens"])]
    return [TokenFile(file["name"], file["documents"], file["tokens"]) for file in counts["files"]]


def read_index(folder: str | Path) -> dict[str, Any]:
    """The index of a shards folder. Raises DataError if it is missing, broken or of another format."""
    path = Path(folder) / INDEX
    if not path.is_file():
        # what stands there, such as a run, is no place for shards
        out = "SHARDS" if Path(folder).exists() else folder
        raise DataError(
            f"{folder} holds no token shards ({INDEX} is missing); give a folder that `pinisi tokenize` wrote, or make them "
            f"first: pinisi tokenize TEXT --tokenizer MODEL --out {out}"
        )
    try:
        index = json_text.parse(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); tokenize again") from None
    if not isinstance(index, dict):
        raise DataError(f"{path} holds a JSON {type(index).__name__}, not an object; tokenize again")
    if index.get("format") not in READ:
        raise DataError(
            f"{path} has format {index.get('format')}, this version reads {' and '.join(map(str, READ))}; tokenize again"
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
    for language, counts in index["languages"].items():
        for file in files_of(counts, language):
            part, _, name = file.name.rpartition("/")
            if name != language or not (part.isdecimal() or not part):
                raise DataError(
                    f"{path} has the file {file.name!r} for {language}, which no part has; tokenize again"
                )
    return index


def decode_span(shards: TokenShards | str | Path, language: str, position: int) -> DocumentSpan:
    """The document, with id, URL, source and metadata, that token `position` of a language's shard belongs to."""
    shards = shards if isinstance(shards, TokenShards) else TokenShards(shards)
    files = shards.files(language)
    if not 0 <= position < files.tokens:
        raise DataError(
            f"{language} has tokens 0 to {files.tokens - 1} in {shards.folder}, position {position} is none"
        )
    number, start, stop = files.document_at(position)
    id, url, source, metadata = shards.name(language, number)
    return DocumentSpan(number, id, url, start, stop, source, metadata)
