"""Code points seen as letters, marks, digits and the rest; scripts; and text cut into words.

A script is the first word of a letter's Unicode name (LATIN, THAI, CJK, ...), so every script that Python's
Unicode data know is known here, without a table of blocks.
"""

import functools
import re
import unicodedata

import numpy as np

OTHER, LETTER, DIGIT, IGNORED = range(4)
ASSIGNED = 0x33480  # no letter or mark is assigned beyond, but for
SELECTORS = range(0xE0000, 0xE01F0)  # tags and variation selectors
COMMON = ""  # the script of marks and letters that go with any script
# first words of names that say nothing about a script
ANY_SCRIPT = {
    "COMBINING", "MODIFIER", "VARIATION", "MATHEMATICAL", "MICRO", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER",
    "ALEF", "BET", "GIMEL", "DALET", "VEDIC", "CARON", "SUPERSCRIPT", "EULER", "PLANCK", "ROMAN", "VERTICAL",
    "MASU", "MUSICAL", "INFORMATION",
}  # fmt: skip
RENAMED = {"FULLWIDTH": "LATIN", "HALFWIDTH": "KATAKANA", "FEMININE": "LATIN", "MASCULINE": "LATIN",
           "VIETNAMESE": "CJK", "KELVIN": "LATIN", "ANGSTROM": "LATIN", "OHM": "GREEK", "IDEOGRAPHIC": "CJK",
           "KATAKANA-HIRAGANA": "KATAKANA"}  # fmt: skip
TWO_WORDS = {"OLD", "NEW", "TAI", "MEETEI", "SYLOTI", "OL"}
# Scripts in which words are not set apart by spaces.
UNSPACED = (
    "THAI", "LAO", "KHMER", "MYANMAR", "CJK", "HIRAGANA", "KATAKANA", "TIBETAN", "JAVANESE", "BALINESE",
    "TAI THAM", "TAI LE", "NEW TAI", "TAI VIET", "YI",
)  # fmt: skip
# Signs that put the next consonant under the one before, so that a cluster goes on: Khmer, Burmese, Tai Tham,
# Javanese, Balinese.
STACKERS = "\u17d2\u1039\u1a60\ua9c0\u1b44"
JOINERS = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]")  # invisible, inside a word
INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")  # the same and U+200B, the space of no width


@functools.cache
def classes() -> np.ndarray:
    """The class of each code point, uint8 [0x110000]: OTHER, LETTER (marks too), DIGIT or IGNORED."""
    of = np.zeros(0x110000, np.uint8)
    for code in (*range(ASSIGNED), *SELECTORS):
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            of[code] = LETTER
        elif category == "Nd":
            of[code] = DIGIT
        elif category == "Cf":
            of[code] = IGNORED
    return of


@functools.cache
def scripts() -> tuple[list[str], np.ndarray]:
    """(names of scripts, index of each code point's script in them); index 0 is COMMON."""
    names: dict[str, int] = {COMMON: 0}
    of = np.zeros(0x110000, np.uint8)
    for code in np.flatnonzero(classes() == LETTER).tolist():
        script = _script(unicodedata.name(chr(code), ""))
        of[code] = names.setdefault(script, len(names))
    return list(names), of


def _script(name: str) -> str:
    words = name.split(" ")
    if words[0] in ANY_SCRIPT or not name:
        return COMMON
    if words[0] in TWO_WORDS:
        return " ".join(words[:2])
    return RENAMED.get(words[0], words[0])


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
    names, script = scripts()
    kinds = classes()
    unspaced = np.isin(script, [names.index(name) for name in UNSPACED if name in names])
    mark = np.zeros(len(kinds), bool)
    for code in np.flatnonzero(kinds == LETTER).tolist():
        mark[code] = unicodedata.category(chr(code))[0] == "M"
    letter = _one_of((kinds == LETTER) & unspaced & ~mark)
    rest = _one_of(((kinds == LETTER) & ~unspaced & ~mark) | (kinds == DIGIT))
    marks, stacker = _one_of(mark), f"[{STACKERS}]"
    cluster = f"{letter}{marks}*(?:(?<={stacker}){letter}{marks}*)*"
    return re.compile(f"{cluster}|{rest}(?:{rest}|{marks})*|{marks}+")


def _one_of(members: np.ndarray) -> str:
    """A regular expression's class of the code points where `members` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], members, [False]]).astype(np.int8)))
    ranges = zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)
    return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]"
