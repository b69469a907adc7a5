"""What the rules measure on a text, their limits, and the verdict.

The eight of Sailor2's cleaning (arXiv 2502.12982, section 3; its code goes back to BigScience's, arXiv 2303.03915): number of
words, repetition of characters and of words, special characters, stop words, flagged words, language, and a language model's
surprise. Ours is `variety`: a list of search words has few of them. For a script without spaces a word is a letter with its
marks, but for `variety` it is what stands between spaces and signs.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pinisi.data.text.scripts import LETTER, classes
from pinisi.data.text.segmentation import codes, normal_words

WORD_GRAM, CHARACTER_GRAM = 5, 10
# Of 200 words of running text one in seven is new in each of the fifteen languages of the sample corpus (the lowest document
# of ms, su and jv has .16 to .24, of km, th and zh .20 to .24); however few texts a limit is fitted to, it is not below.
LEAST_VARIETY = 0.14
# What a fitted limit allows at least beyond the tail, where clean texts hardly differ.
SLACK = {
    "character_repetition": 0.05,
    "word_repetition": 0.05,
    "variety": 0.03,
    "special": 0.05,
    "stop_words": 0.05,
    "bits": 0.3,
}
STRETCH = 200  # words
# A fitted limit of the number of words lies between these: a label is no document, and a short one may be a good one.
FEWEST_WORDS = {"spaces": (3.0, 10.0), "characters": (10.0, 30.0)}
EXCERPT = 3000  # characters of a text by which models judge it
DENSE_GRAM = 3  # characters, for Chinese, whose 10-grams hardly ever repeat

# Limits of Sailor2's cleaning code (SailCraft), as far as its rules are the same; its perplexities are of another model.
SAILCRAFT: dict[str, dict[str, float]] = {
    "en": dict(
        words=20,
        character_repetition=0.106,
        word_repetition=0.19,
        special=0.4,
        stop_words=0.3,
        flagged=0.01,
        language=0.8,
    ),
    "id": dict(
        words=10, character_repetition=0.5, word_repetition=0.5, special=0.5, flagged=0.1, language=0.7
    ),
    "vi": dict(
        words=10, character_repetition=0.5, word_repetition=0.5, special=0.5, flagged=0.1, language=0.7
    ),
    "th": dict(
        words=30, character_repetition=0.2, word_repetition=0.2, special=0.4, flagged=0.01, language=0.7
    ),
    "ms": dict(words=15, character_repetition=0.15, word_repetition=0.2, special=0.34, flagged=0.01),
    "lo": dict(
        words=10,
        character_repetition=0.1,
        word_repetition=0.5,
        special=0.4,
        stop_words=0.15,
        flagged=0.1,
        language=0.7,
    ),
    "zh": dict(
        words=30,
        character_repetition=0.2,
        word_repetition=0.96,
        special=0.3,
        stop_words=0.169,
        flagged=0.001,
        language=0.85,
    ),
}
AT_LEAST = frozenset(("words", "variety", "stop_words", "language"))  # the other rules have a most
ORDER = (
    "words",
    "character_repetition",
    "word_repetition",
    "variety",
    "special",
    "stop_words",
    "flagged",
    "language",
    "bits",
)


class Pack(Protocol):
    """What the rules need of a language pack."""

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


class Verdict(NamedTuple):
    """The first rule that a text breaks."""

    rule: str
    value: float
    limit: float


class Text:
    """A text and what several rules read of it."""

    def __init__(self, text: str, pack: Pack, language: float, flagged: frozenset[str] = frozenset()) -> None:
        self.text, self.pack, self.language, self.flagged = text, pack, language, flagged
        self.codes = codes(text)
        self.words = pack.words(text)


def excerpt(text: str) -> str:
    """What models read of a long text: its beginning, middle and end."""
    if len(text) <= EXCERPT:
        return text
    piece = EXCERPT // 3
    middle = len(text) // 2 - piece // 2
    return "\n".join((text[:piece], text[middle : middle + piece], text[-piece:]))


def verdict(text: Text, limits: Mapping[str, float]) -> Verdict | None:
    """The first rule that the text breaks, in the order of Sailor2; None if it is kept."""
    for name in ORDER:
        limit = limits.get(name)
        if limit is None:
            continue
        value = MEASURES[name](text)
        if value < limit if name in AT_LEAST else value > limit:
            return Verdict(name, value, limit)
    return None


def measures(text: Text) -> dict[str, float]:
    """All of them."""
    return {name: MEASURES[name](text) for name in ORDER}


def fitted(texts: Sequence[Text]) -> dict[str, float]:
    """Limits that clean texts keep: beyond their 0.5th or 99.5th percentile by a part of the distance from it to the quartile on
    that side; the fewer texts there are, the less they show of the tail, and the larger that part is. `language` is no matter of
    one language's texts: see `limits_of`.
    """
    values = [measures(text) for text in texts]
    if not values:
        return {}
    found, part = {}, max(0.25, 6 / len(values) ** 0.5)
    for name in ORDER:
        if name in ("language", "flagged"):
            continue
        column = np.array([value[name] for value in values])
        if name in AT_LEAST:
            tail, near = np.quantile(column, (0.005, 0.25))
            found[name] = max(0.0, float(tail - max(part * (near - tail), SLACK.get(name, 0.0))))
        else:
            near, tail = np.quantile(column, (0.75, 0.995))
            found[name] = float(tail + max(part * (tail - near), SLACK.get(name, 0.0)))
    low, high = FEWEST_WORDS[texts[0].pack.segmentation]
    found["words"] = min(max(found["words"], low), high)
    found["variety"] = max(found["variety"], LEAST_VARIETY)
    for name in ("character_repetition", "word_repetition", "special"):
        found[name] = min(found[name], 0.95)
    return found


def limits_of(
    pack: Pack, preset: str, own: Mapping[str, Mapping[str, float]], off: Sequence[str]
) -> dict[str, float]:
    """Of one language: the preset's, then those for all languages, then its own. Sailcraft has none for half of the fifteen
    languages: there, and with no preset, the pack's are taken."""
    limits = dict(SAILCRAFT.get(pack.language, {})) if preset == "sailcraft" else {}
    if not limits:
        limits = {"language": 0.5, "flagged": 0.02, **pack.limits}
    limits |= {**own.get("all", {}), **own.get(pack.language, {})}
    return {name: value for name, value in limits.items() if name not in off}


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
    width = WORD_GRAM if text.pack.segmentation == "spaces" else 2 * WORD_GRAM
    words = text.words
    counts = Counter(zip(*(words[at:] for at in range(width)), strict=False))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def _variety(text: Text) -> float:
    """Distinct words / words, the mean over stretches of one length, since longer texts have fewer new words. Without spaces
    between words a list's entries come back whole, and nothing smaller tells it from running text; U+200B parts words in some
    Khmer and Thai texts only, so here it does not."""
    spaces = text.pack.segmentation == "spaces"
    words = text.words if spaces else normal_words(text.text.replace("\u200b", ""))
    if not words:
        return 1.0
    parts = [words[at : at + STRETCH] for at in range(0, max(1, len(words) - STRETCH // 2), STRETCH)]
    return sum(len(set(part)) / len(part) for part in parts) / len(parts)


def _special(text: Text) -> float:
    """Share of characters that are no letters and no marks; white space between words does not count."""
    letters = classes()[text.codes] == LETTER  # and marks
    space = (text.codes == 0x20) | (text.codes == 0x0A) | (text.codes == 0x200B)
    total = len(text.codes) - int(space.sum())
    return float((~letters & ~space).sum() / total) if total else 1.0


def _stop_words(text: Text) -> float:
    stop = text.pack.stop_words
    return sum(word in stop for word in text.words) / len(text.words) if text.words else 0.0


def _flagged(text: Text) -> float:
    if not text.flagged or not text.words:
        return 0.0
    return sum(word in text.flagged for word in text.words) / len(text.words)


MEASURES: dict[str, Callable[[Text], float]] = {
    "words": _words,
    "character_repetition": _character_repetition,
    "word_repetition": _word_repetition,
    "variety": _variety,
    "special": _special,
    "stop_words": _stop_words,
    "flagged": _flagged,
    "language": lambda text: text.language,
    "bits": lambda text: text.pack.bits_per_character(excerpt(text.text)),
}
