"""Text cut into words, in scripts with and without spaces between them."""

import functools
import re
import unicodedata

import numpy as np

from pinisi.data.scripts import DIGIT, IGNORED, LETTER, classes, unspaced

# Signs that put the next consonant under the one before, so that a cluster goes on: Khmer, Burmese, Tai Tham,
# Javanese, Balinese.
STACKERS = "\u17d2\u1039\u1a60\ua9c0\u1b44"
JOINERS = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]")  # invisible, inside a word
INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")  # the same and U+200B, the space of no width


def code_points(text: str) -> np.ndarray:
    """The code points of `text` in lower case and NFC, uint32, without invisible format characters."""
    text = normal(text)
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
    ignored = classes()[codes] == IGNORED
    return codes[~ignored] if ignored.any() else codes


def normal(text: str) -> str:
    """`text` in lower case and NFC."""
    text = text.lower()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def words_by_spaces(text: str) -> list[str]:
    """Lower-cased runs of letters, marks and digits."""
    text = normal(text)
    if not text.isascii():
        text = JOINERS.sub("", text)
    return _spaces().findall(text)


def words_by_characters(text: str) -> list[str]:
    """Each letter of an unspaced script with its combining marks and stacked consonants; runs of other letters
    and digits (a Latin name in Thai text) as in words_by_spaces."""
    text = normal(text)
    if text.isascii():
        return _spaces().findall(text)
    return _clusters().findall(INVISIBLE.sub("", text))


@functools.cache
def _spaces() -> re.Pattern[str]:
    kinds = classes()
    return re.compile(_one_of((kinds == LETTER) | (kinds == DIGIT)) + "+")


@functools.cache
def _clusters() -> re.Pattern[str]:
    kinds = classes()
    mark = np.zeros(len(kinds), bool)
    for code in np.flatnonzero(kinds == LETTER).tolist():
        mark[code] = unicodedata.category(chr(code))[0] == "M"
    letter = _one_of((kinds == LETTER) & unspaced() & ~mark)
    rest = _one_of(((kinds == LETTER) & ~unspaced() & ~mark) | (kinds == DIGIT))
    marks, stacker = _one_of(mark), f"[{STACKERS}]"
    cluster = f"{letter}{marks}*(?:(?<={stacker}){letter}{marks}*)*"
    return re.compile(f"{cluster}|{rest}(?:{rest}|{marks})*|{marks}+")


def _one_of(members: np.ndarray) -> str:
    """A regular expression's class of the code points where `members` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], members, [False]]).astype(np.int8)))
    ranges = zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)
    return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]"
