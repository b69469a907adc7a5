"""Reads what a model's loss is measured on from token shards, such as a run's held-out ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.data import TokenShards, check_shards, load_tokenizer, read_documents
from pinisi.evaluate.corpus_index import decoded_documents
from pinisi.evaluate.language_loss import LossText

BLOCK = 512  # documents decoded at once


def shard_texts(
    component: str,
    folder: str | Path,
    tokenizer: str | Path,
    rows: int,
    longest: int,
    limit: int | None = None,
) -> list[LossText]:
    """All languages of a folder of shards, as `language_loss.loss_texts` of their text. Raises DataError where they are damaged, or
    were made with another tokenizer."""
    shards = TokenShards(folder)
    if damage := shards.damage():
        raise DataError(f"{damage}; tokenize again, or bring back a copy")
    check_shards([shards], rows, tokenizer)
    backend = load_tokenizer(tokenizer).backend_tokenizer
    return [_text(component, shards, language, backend, longest, limit) for language in shards.languages]


def _text(
    component: str, shards: TokenShards, language: str, backend: Any, longest: int, limit: int | None
) -> LossText:
    """Bytes of a whole language are the index's, shared out by what documents decode to: a token may end within a letter."""
    counts = shards.counts(language)
    digest = digests.of_value([shards.fingerprint, language, shards.index.get("files", {})])
    text = LossText(component, language, shards.folder, digest, longest)
    documents = [tokens.tolist() for tokens in islice(shards.files(language).each(), limit)]
    ends = list(accumulate(_decoded(backend, documents)))
    whole = len(documents) == counts["documents"]
    scale = counts["predicted_bytes"] / max(1, ends[-1]) if whole and ends else 1.0
    before = 0
    for number, (tokens, end) in enumerate(zip(documents, ends, strict=True)):
        text.add(shards.name(language, number)[0], tokens, round(end * scale) - before)
        before = round(end * scale)
    return text


def _decoded(backend: Any, documents: list[list[int]]) -> Iterator[int]:
    """Bytes of each document's text behind its first token, up to the one that ends it."""
    for start in range(0, len(documents), BLOCK):
        inner = [tokens[1:-1] for tokens in documents[start : start + BLOCK]]
        for text in backend.decode_batch(inner, skip_special_tokens=False):
            yield len(text.encode("utf-8", "replace"))


def texts_of(loss: LossText) -> Iterator[str]:
    """The documents of a loss again as text, in their order."""
    if loss.file.is_dir():
        return islice(decoded_documents(loss.file, loss.language), len(loss.ids))
    return (document.text for document in islice(read_documents(loss.file), len(loss.ids)))
