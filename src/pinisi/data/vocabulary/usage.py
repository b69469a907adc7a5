"""Counts which tokens of a vocabulary a text uses, and how much of it falls back to single bytes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinisi.data.control_tokens import TextOnly
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size
from pinisi.data.vocabulary.words import Texts, batched


@dataclass(frozen=True)
class Usage:
    """counts: {language: {id: how often it occurs}}. names: {id: the text that it stands for}. fallen: {language: bytes of
    characters that the tokenizer has no piece for, which are written as parts of characters}. sizes: bytes by language."""

    counts: Mapping[str, Counter[int]]
    names: Mapping[int, str]
    fallen: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def total(self) -> Counter[int]:
        return sum(self.counts.values(), Counter())

    def unused(self) -> list[int]:
        """Tokens that no text uses, by id."""
        return sorted(self.names.keys() - self.total.keys())

    def own(self, language: str) -> int:
        """How many tokens this language alone uses."""
        others = {id for other, counts in self.counts.items() if other != language for id in counts}
        return len(self.counts[language].keys() - others)


def usage(folder: str | Path, texts: Texts) -> Usage:
    """Encodes texts by language with a tokenizer's folder, control tokens in them taken as text."""
    tokenizer = load_tokenizer(folder)
    text_only = TextOnly(tokenizer)
    counts, fallen, sizes = {}, {}, {}
    for language in sorted(texts):
        found: Counter[int] = Counter()
        missed = size = 0
        for batch in batched(texts[language]()):
            size += sum(len(text.encode()) for text in batch)
            for text, encoding in zip(
                batch, text_only.backend.encode_batch(batch, add_special_tokens=False), strict=True
            ):
                missed += _split_bytes(text, encoding.offsets)
            for ids, _ in text_only.encode(batch):
                found.update(ids)
        counts[language], fallen[language], sizes[language] = found, missed, size
    backend = tokenizer.backend_tokenizer
    there = set(tokenizer.get_vocab().values())
    names = {
        id: backend.decode([id], skip_special_tokens=False)
        for id in range(vocabulary_size(tokenizer))
        if id in there
    }
    return Usage(counts, names, fallen, sizes)


def _split_bytes(text: str, offsets: list[tuple[int, int]]) -> int:
    """Bytes of the characters that several tokens share: each lies within the offsets of all of them."""
    shared: set[int] = set()
    seen = 0  # characters before this one belong to a token already
    for start, end in offsets:
        shared.update(range(start, min(end, seen)))
        seen = max(seen, end)
    return sum(len(text[place].encode()) for place in shared)
