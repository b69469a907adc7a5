"""Measures a text for the rules: length, repetition, variety, signs, stop words, flagged words, language.

The first are those of Sailor2's cleaning (arXiv 2502.12982, section 3; its code goes back to BigScience's, arXiv 2303.03915).
`variety` is ours: a list of search words has few of them. For a script without spaces a word is a letter with its marks, but for
`variety` it is what stands between spaces and signs.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

import numpy as np

from pinisi.curate.flagged import Flagged
from pinisi.data.text.scripts import LETTER, classes
from pinisi.data.text.segmentation import codes, normal_words

WORD_GRAM, CHARACTER_GRAM = 5, 10
DENSE_GRAM = 3  # characters, for Chinese, whose 10-grams hardly ever repeat
STRETCH = 200  # words
FEWEST = 5  # words by which a text's shortness is judged at the least: one sentence without spaces is one of them, and no list
SHORTER = 0.4  # a shorter text's distinct words / words is taken times (words / STRETCH) to this power (Heaps' law, from below)
RUNNING = 100  # words: a shorter text, such as a table or a label, may do without any stop word
EXCERPT = 3000  # characters of a text by which models judge it
# A line of SubRip's or WebVTT's, with the number of the subtitle above it.
TIMES = re.compile(r"^(?:\d{1,6}\n)?[\d:,.]{5,16} --> [\d:,.]{5,16}.{0,99}$", re.MULTILINE)
NONE_FLAGGED = Flagged()


class PackLike(Protocol):
    """What measures need of a language pack."""

    @property
    def language(self) -> str: ...
    @property
    def segmentation(self) -> str: ...
    @property
    def stop_words(self) -> frozenset[str]: ...
    @property
    def limits(self) -> Mapping[str, float]: ...

    def words(self, text: str) -> list[str]: ...
    def bits_per_character(self, text: str) -> float: ...


class Text:
    """A text and what several measures read of it; nothing is computed before it is asked for."""

    def __init__(self, text: str, pack: PackLike, language: float, flagged: Flagged = NONE_FLAGGED) -> None:
        self.text, self.pack, self.language, self.flagged = text, pack, language, flagged

    @cached_property
    def codes(self) -> np.ndarray:
        return codes(self.text)

    @cached_property
    def words(self) -> list[str]:
        return self.pack.words(self.text)

    @cached_property
    def flagged_words(self) -> int:
        return self.flagged.count(self.words)

    @property
    def spaces(self) -> bool:
        return self.pack.segmentation == "spaces"

    @cached_property
    def bits(self) -> float:
        """Bits that the pack's model needs for a character of the excerpt."""
        return self.pack.bits_per_character(excerpt(self.text))


def excerpt(text: str) -> str:
    """Returns what models read of a long text: its beginning, middle and end."""
    if len(text) <= EXCERPT:
        return text
    piece = EXCERPT // 3
    middle = len(text) // 2 - piece // 2
    return "\n".join((text[:piece], text[middle : middle + piece], text[-piece:]))


def _words(text: Text) -> float:
    return float(len(text.words))


def _character_repetition(text: Text) -> float:
    """Share of the most frequent sqrt(n) of the n-grams, of those that occur twice at all."""
    dense = text.pack.language == "zh"
    counts = _gram_counts(text.codes, DENSE_GRAM if dense else CHARACTER_GRAM)
    if not len(counts):
        return 0.0
    counts = np.sort(counts)[::-1]
    top = min(int(math.sqrt(len(counts))), int((counts > 1).sum()))
    return float(counts[:top].sum() / counts.sum())


def _gram_counts(codes: np.ndarray, width: int) -> np.ndarray:
    """How often each n-gram occurs."""
    if len(codes) < width:
        return np.zeros(0, dtype=np.int64)
    wide = codes.astype(np.uint64)
    hashes = np.zeros(len(codes) - width + 1, dtype=np.uint64)
    for at in range(width):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + wide[at : len(wide) - width + 1 + at]
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes, return_counts=True)[1]


def _word_repetition(text: Text) -> float:
    """Share of the word 5-grams that occur more than once; characters' 10-grams where there are no spaces."""
    width = WORD_GRAM if text.spaces else 2 * WORD_GRAM
    words = text.words
    counts = Counter(zip(*(words[at:] for at in range(width)), strict=False))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def _variety(text: Text) -> float:
    """Distinct words / words, the mean over stretches of one length, since longer texts have fewer new words.

    The last stretch reaches back where the text doesn't fill it. Without spaces between words a list's entries come back whole, and
    nothing smaller tells it from running text; U+200B parts words in some Khmer and Thai texts only, so here it does not.
    """
    words = text.words if text.spaces else normal_words(text.text.replace("\u200b", ""))
    if not words:
        return 1.0
    starts = [*range(0, len(words) - STRETCH, STRETCH), max(0, len(words) - STRETCH)]
    parts = [words[start : start + STRETCH] for start in starts]
    shares = [
        len(set(part)) / len(part) * min(1.0, max(FEWEST, len(part)) / STRETCH) ** SHORTER for part in parts
    ]
    return sum(shares) / len(shares)


def _special(text: Text) -> float:
    """Share of characters that are no letters and no marks; white space and the times of subtitles do not count."""
    of = codes(TIMES.sub("", text.text)) if "-->" in text.text else text.codes
    letters = classes()[of] == LETTER  # and marks
    space = (of == 0x20) | (of == 0x09) | (of == 0x0A) | (of == 0x200B)
    total = len(of) - int(space.sum())
    return float((~letters & ~space).sum() / total) if total else 1.0


def _stop_words(text: Text) -> float:
    """Share of the words that are the language's stop words; 1 of a text too short to need any."""
    if len(text.words) < RUNNING:
        return 1.0
    stop = text.pack.stop_words
    return sum(word in stop for word in text.words) / len(text.words)


def _flagged(text: Text) -> float:
    if not text.flagged or not text.words:
        return 0.0
    return text.flagged_words / len(text.words)


MEASURES: dict[str, Callable[[Text], float]] = {
    "words": _words,
    "character_repetition": _character_repetition,
    "word_repetition": _word_repetition,
    "variety": _variety,
    "special": _special,
    "stop_words": _stop_words,
    "flagged": _flagged,
    "language": lambda text: text.language,
    "bits": lambda text: text.bits,
}
ORDER = tuple(MEASURES)


def measures(text: Text) -> dict[str, float]:
    """Returns all of them."""
    return {name: measure(text) for name, measure in MEASURES.items()}
