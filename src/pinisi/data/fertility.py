"""Counts how many tokens text costs in each language, with one tokenizer or with several side by side."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import TextOnly
from pinisi.data.documents import Document, corpus_files, read_documents
from pinisi.data.languages import LANGUAGES
from pinisi.data.shard_writer import batched
from pinisi.data.text.segmentation import has_spaces, words
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size

REFERENCE = "en"
FORMAT = 1
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # how SentencePiece writes a byte that is no part of a known piece
ENOUGH = 5  # parallel documents whose lengths can be held against one another
ALIKE = 0.5  # correlation of log lengths below which documents of one id are no translations

Report = Callable[[str], None]


def fertility(
    text_folder: str | Path,
    tokenizers: Mapping[str, str | Path],
    *,
    parallel: str | Path | None = None,
    reference: str = REFERENCE,
    limit: int | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Tokens per word, character and byte of each language of a corpus folder, by tokenizer; plain data, for JSON.

    tokenizers: {name: folder}.
    parallel: a corpus folder in which documents of one id are translations of one another; None takes the
        text itself. Only ids that every language has count.
    reference: the language that costs are relative to.
    limit: at most so many characters of each language, from the file's start; None takes all.
    report: is told each language when it is done.

    In the result "languages" has for each: name, documents, characters, bytes, words (None where the script
    puts no spaces between them) and for each tokenizer
        tokens, tokens_per_word (or None), tokens_per_character, tokens_per_byte
        unknown: share of tokens that stand for something the tokenizer does not know
        pieces: share of tokens that are single bytes or parts of characters
        cost: how many times as many tokens as the reference needs; None without a text of the reference
        basis: "parallel" (the same content), "bytes" (tokens per byte, which favours scripts of more bytes a
            character; where there are no parallel documents) or None
    Raises DataError for a folder, a file or a tokenizer that can't be read, or no tokenizer.
    """
    if not tokenizers:
        raise DataError("no tokenizer was given; name at least one, as NAME=FOLDER")
    files = corpus_files(text_folder)
    readers = {name: _Reader(folder) for name, folder in tokenizers.items()}
    languages = {}
    for language, path in files.items():
        languages[language] = _language(language, _limited(path, language, limit), readers)
        report(f"{language}: {languages[language]['documents']} documents")
    translations = _Parallel(corpus_files(parallel or text_folder), reference, readers)
    for language, found in languages.items():
        for name, figures in found["tokenizers"].items():
            base = languages.get(reference, {}).get("tokenizers", {}).get(name)
            figures["cost"], figures["basis"] = translations.cost(language, name) or _by_bytes(figures, base)
    return {
        "format": FORMAT,
        "reference": reference,
        "parallel_documents": len(translations.ids),
        "tokenizers": {name: {"vocabulary": reader.size} for name, reader in readers.items()},
        "languages": languages,
    }


class FertilityMeter:
    """Counts what texts cost in tokens with one tokenizer."""

    def __init__(self, tokenizer: str | Path) -> None:
        self._readers = {"": _Reader(tokenizer)}

    def of(self, language: str, texts: Iterable[str]) -> dict[str, Any]:
        """Returns tokens, tokens_per_word (or None), tokens_per_character, tokens_per_byte, unknown, pieces (see `fertility`)."""
        documents = (Document("", text, language) for text in texts if text)
        return _language(language, documents, self._readers)["tokenizers"][""]


class _Reader:
    """A tokenizer that counts."""

    def __init__(self, folder: str | Path):
        tokenizer = load_tokenizer(folder)
        self.size = vocabulary_size(tokenizer)
        self.unknown = tokenizer.unk_token_id
        self.text_only = TextOnly(tokenizer)  # as in token shards
        self.backend = tokenizer.backend_tokenizer

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        return [np.asarray(ids, dtype=np.int64) for ids, _ in self.text_only.encode(texts)]

    def is_piece(self, id: int) -> bool:
        """Whether a token is a byte or a part of a character: alone it decodes to U+FFFD."""
        name = self.backend.id_to_token(id) or ""
        if name == "\ufffd":
            return False
        return bool(BYTE.fullmatch(name)) or "\ufffd" in self.backend.decode([id], skip_special_tokens=False)


def _limited(path: Path, language: str, limit: int | None) -> Iterable[Document]:
    seen = 0
    for document in read_documents(path, language):
        if limit is not None and seen >= limit:
            return
        seen += len(document.text)
        yield document


def _language(language: str, documents: Iterable[Document], readers: dict[str, _Reader]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    used = {name: np.zeros(reader.size, dtype=np.int64) for name, reader in readers.items()}
    spaces: bool | None = None
    for batch in batched(documents):
        texts = [document.text for document in batch]
        spaces = has_spaces(texts) if spaces is None else spaces
        counts["documents"] += len(texts)
        counts["characters"] += sum(map(len, texts))
        counts["bytes"] += sum(len(text.encode("utf-8")) for text in texts)
        counts["words"] += sum(len(words(text)) for text in texts) if spaces else 0
        for name, reader in readers.items():
            ids = np.concatenate(reader.encode(texts))
            used[name] += np.bincount(ids, minlength=reader.size)
    figures = {name: _figures(reader, used[name], counts) for name, reader in readers.items()}
    return {
        "name": LANGUAGES.get(language, language),
        "documents": counts["documents"],
        "characters": counts["characters"],
        "bytes": counts["bytes"],
        "words": counts["words"] if spaces else None,
        "tokenizers": figures,
    }


def _figures(reader: _Reader, used: np.ndarray, counts: Mapping[str, int]) -> dict[str, Any]:
    """used: [vocabulary], how often each token came."""
    tokens = int(used.sum())
    pieces = sum(int(used[id]) for id in np.flatnonzero(used).tolist() if reader.is_piece(id))
    unknown = 0 if reader.unknown is None else int(used[reader.unknown])
    return {
        "tokens": tokens,
        "tokens_per_word": _ratio(tokens, counts["words"]),
        "tokens_per_character": _ratio(tokens, counts["characters"]),
        "tokens_per_byte": _ratio(tokens, counts["bytes"]),
        "unknown": _ratio(unknown, tokens),
        "pieces": _ratio(pieces, tokens),
    }


class _Parallel:
    """Documents that have the same id in every language, and what they cost."""

    def __init__(self, files: dict[str, Path], reference: str, readers: dict[str, _Reader]):
        self.reference = reference
        self.ids = self._common(files) if reference in files and len(files) > 1 else set()
        self.tokens: dict[tuple[str, str], int] = {}  # by language and tokenizer
        self.lengths: dict[str, dict[str, int]] = {}
        for language, path in files.items() if self.ids else ():
            texts = {each.id: each.text for each in read_documents(path, language) if each.id in self.ids}
            self.lengths[language] = {id: len(text) for id, text in texts.items()}
            for name, reader in readers.items():
                self.tokens[language, name] = sum(map(len, reader.encode(list(texts.values()))))

    def _common(self, files: dict[str, Path]) -> set[str]:
        common: set[str] | None = None
        for language, path in files.items():
            ids = {each.id for each in read_documents(path, language) if each.text.strip()}
            common = ids if common is None else common & ids
            if not common:
                break
        return common or set()

    def cost(self, language: str, name: str) -> tuple[float, str] | None:
        """Tokens over the reference's for the same content, or None where there is none."""
        if (language, name) not in self.tokens or not self._translations(language):
            return None
        return self.tokens[language, name] / self.tokens[self.reference, name], "parallel"

    def _translations(self, language: str) -> bool:
        """Equal ids may be mere numbers of lines; then the documents' lengths have nothing to do with each other."""
        mine, theirs = self.lengths[language], self.lengths[self.reference]
        pairs = np.log([(mine[id], theirs[id]) for id in sorted(self.ids)])
        if len(pairs) < ENOUGH or (pairs.std(0) == 0).any():
            return True
        return float(np.corrcoef(pairs.T)[0, 1]) >= ALIKE


def _by_bytes(figures: dict[str, Any], base: dict[str, Any] | None) -> tuple[float | None, str | None]:
    if base is None or not base["tokens_per_byte"] or figures["tokens_per_byte"] is None:
        return None, None
    return figures["tokens_per_byte"] / base["tokens_per_byte"], "bytes"


def _ratio(a: float, b: float) -> float | None:
    return a / b if b and math.isfinite(b) else None
