"""Encodes documents and writes them to token shards, one for each language, whatever the order in which they come."""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import TextOnly
from pinisi.data.document_files import BOUND_DTYPE, TOKEN_DTYPE
from pinisi.data.documents import Document
from pinisi.data.roundtrip import Altered

BATCH_CHARACTERS = 1 << 19  # characters handed to the tokenizer at once: enough to keep its threads busy
BATCH_DOCUMENTS = 512
ALL_CHARACTERS = 1 << 25  # that wait for their batch in all languages together


class Encoder:
    """Text to tokens and back. bos: the token that each document begins with, if any."""

    def __init__(self, tokenizer: Any, end: int, rows: int | None, bos: int | None = None) -> None:
        self.tokenizer, self.end, self.rows = tokenizer, end, rows
        self.before = [] if bos is None else [bos]
        self.backend = tokenizer.backend_tokenizer
        self.text_only = TextOnly(tokenizer)

    def encode(self, batch: list[Document]) -> Iterator[tuple[Document, list[int], int, str]]:
        """Each document with its ids, the bytes that are predicted, and what the ids decode to."""
        encoded = self.text_only.encode([document.text for document in batch])
        texts = self.backend.decode_batch([ids for ids, _ in encoded], skip_special_tokens=False)
        for document, (ids, first), decoded in zip(batch, encoded, texts, strict=True):
            if self.rows is not None and ids and max(ids) >= self.rows:
                raise self._beyond(document, max(ids))
            # a document's first token is never a target, so its bytes do not count in bits per byte
            predicted = document.text if self.before else document.text[first:]
            yield document, [*self.before, *ids, self.end], len(predicted.encode("utf-8")), decoded

    def _beyond(self, document: Document, id: int) -> DataError:
        token = self.tokenizer.convert_ids_to_tokens(id)
        return DataError(
            f"token {token!r} has id {id}, the model's vocabulary has {self.rows} rows; "
            f"it stands in document {document.id} ({document.language}); use the model's own tokenizer"
        )


class _Shard:
    """The files of one language, and what is waiting to be written to them. They are open while a batch is written: there may
    be more languages than a process may have files."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder, self.language = folder, language
        self.bounds, self.name_bounds = array("q", [0]), array("q", [0])
        self.counts: Counter[str] = Counter()
        self.altered = Altered()
        self.waiting: list[Document] = []
        self.characters = 0  # of those

    def write(self, encoder: Encoder) -> None:
        with self._open("tokens") as tokens, self._open("names") as names:
            self._write(encoder, tokens, names)

    def _open(self, ending: str) -> IO[bytes]:
        return (self.folder / f"{self.language}.{ending}").open("ab")

    def _write(self, encoder: Encoder, tokens: IO[bytes], names: IO[bytes]) -> None:
        for document, ids, predicted, decoded in encoder.encode(self.waiting):
            tokens.write(np.asarray(ids, dtype=TOKEN_DTYPE).tobytes())
            self.bounds.append(self.bounds[-1] + len(ids))
            self.name_bounds.append(self.name_bounds[-1] + names.write(_name(document)))
            self.altered.add(document.id, document.text, decoded)
            self.counts["characters"] += len(document.text)
            self.counts["bytes"] += len(document.text.encode("utf-8"))
            self.counts["predicted_bytes"] += predicted
        self.waiting, self.characters = [], 0

    def found(self) -> dict[str, Any]:
        """What the index says of it."""
        size = {"documents": len(self.bounds) - 1, "tokens": self.bounds[-1]}
        return {**size, **self.counts, "altered": self.altered.reasons}

    def close(self) -> None:
        np.asarray(self.bounds, dtype=BOUND_DTYPE).tofile(self.folder / f"{self.language}.documents")
        np.asarray(self.name_bounds, dtype=BOUND_DTYPE).tofile(self.folder / f"{self.language}.name_bounds")


class ShardWriters:
    """Writes to a folder, with a shard for each language that comes."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder, self.encoder = folder, encoder
        self.dropped: Counter[str] = Counter()  # by language: documents without text
        self._shards: dict[str, _Shard] = {}
        self._waiting = 0  # characters, of all languages

    def add(self, document: Document) -> None:
        """Takes a document, and writes when a batch of its language is there."""
        if not document.text.strip():
            self.dropped[document.language] += 1
            return
        shard = self._shards.get(document.language)
        if shard is None:
            shard = _Shard(self.folder, document.language)
            self._shards[document.language] = shard
        shard.waiting.append(document)
        shard.characters += len(document.text)
        self._waiting += len(document.text)
        if self._waiting >= ALL_CHARACTERS:
            self.flush()
        elif shard.characters >= BATCH_CHARACTERS or len(shard.waiting) >= BATCH_DOCUMENTS:
            self._waiting -= shard.characters
            shard.write(self.encoder)

    def flush(self) -> None:
        """Writes what is waiting."""
        for shard in self._shards.values():
            if shard.waiting:
                shard.write(self.encoder)
        self._waiting = 0

    def counts(self) -> dict[str, dict[str, Any]]:
        """{language: what the index says of it}, in alphabetical order, of what is written so far."""
        return {language: self._shards[language].found() for language in sorted(self._shards)}

    def close(self) -> dict[str, dict[str, Any]]:
        """Ends all shards; returns their counts."""
        self.flush()
        for shard in self._shards.values():
            shard.close()
        return self.counts()


def _name(document: Document) -> bytes:
    """A line of .names."""
    fields = [document.id, document.url, document.source, document.metadata]
    try:
        return (json.dumps(fields, ensure_ascii=False, default=str) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair in a URL or in metadata
        return (json.dumps(fields, default=str) + "\n").encode("ascii")


def batched(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Groups documents by total length, so that one call of the tokenizer costs bounded memory."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS or len(batch) == BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
