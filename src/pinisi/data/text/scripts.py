"""Sorts code points into letters, marks, digits and the rest, and into scripts.

A script is the first word of a letter's Unicode name (LATIN, THAI, CJK, ...), so every script that Python's
Unicode data know is known here, without a table of blocks.
"""

import functools
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
# Of these, scripts that part syllables by a sign, U+0F0B in Tibetan.
SYLLABIC = ("TIBETAN",)


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
def script_table() -> tuple[list[str], np.ndarray]:
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


@functools.cache
def unspaced() -> np.ndarray:
    """Which code points are letters or marks of scripts that put no spaces between words, bool [0x110000]."""
    names, script = script_table()
    return np.isin(script, [names.index(name) for name in UNSPACED if name in names])


@functools.cache
def syllabic() -> np.ndarray:
    """Which code points are letters or marks of scripts that part syllables by a sign, bool [0x110000]."""
    names, script = script_table()
    return np.isin(script, [names.index(name) for name in SYLLABIC if name in names])
