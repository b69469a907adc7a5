"""Counts the words of text as a tokenizer cuts them, each as the ids that it has now, with languages in balance."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pinisi.data.vocabulary.learn import Word

BATCH = 256  # documents encoded at once
SCALE = 1 << 16  # weights are whole numbers, so that sums don't depend on their order
Texts = Mapping[str, Callable[[], Iterable[str]]]  # by language; called for a fresh reading


def batched(texts: Iterable[str], size: int = BATCH) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def words_of(
    backend: Any, texts: Iterable[str], apart: frozenset[int], starts: frozenset[int] = frozenset()
) -> Counter[Word]:
    """Counts the words of texts.

    backend: a tokenizer of the `tokenizers` library. apart: ids that part words and belong to none (added tokens).
    starts: ids that begin a new word (SentencePiece's pieces with a space in front, where nothing else parts words).
    """
    counts: Counter[Word] = Counter()
    for batch in batched(texts):
        for encoding in backend.encode_batch(batch, add_special_tokens=False):
            word: list[int] = []
            last = None
            for id, number in zip(encoding.ids, encoding.word_ids, strict=True):
                if number != last or id in apart or id in starts:
                    if len(word) > 1:
                        counts[tuple(word)] += 1
                    word, last = [], number
                if id not in apart:
                    word.append(id)
            if len(word) > 1:
                counts[tuple(word)] += 1
    return counts


def balanced(
    by_language: Mapping[str, Counter[Word]], sizes: Mapping[str, int], temperature: float
) -> Counter[Word]:
    """Adds up languages' words, each language with its share to the power 1 / temperature.

    sizes: of each language, in bytes. temperature: 1 takes text as it is, a large one gives all languages the same weight.
    """
    total: Counter[Word] = Counter()
    present = {language: size for language, size in sizes.items() if size}
    whole = sum(present.values())
    wanted = {language: (size / whole) ** (1 / temperature) for language, size in present.items()}
    factors = {language: wanted[language] / size for language, size in present.items()}
    least = min(factors.values(), default=1.0)
    for language in sorted(present):
        weight = max(1, round(SCALE * factors[language] / least))
        for word, count in by_language[language].items():
            total[word] += weight * count
    return total
