"""Tells which Chinese characters are not of simplified Chinese.

N-grams can't tell: of 60,000 characters a pack has seen two thousand, and a rare name is as new to it as another
standard. The national standard GB 2312-80 lists the 6,763 characters of simplified Chinese; traditional Chinese,
Cantonese and Japanese have a tenth to a half of theirs beyond it, simplified Chinese one in a thousand.
"""

import functools

import numpy as np

from pinisi.data.text.scripts import script_table

HAN = "CJK"
BESIDE = (
    "HIRAGANA",
    "KATAKANA",
    "BOPOMOFO",
)  # letters that stand among Chinese characters, and are not Chinese
SIMPLIFIED = 0.03  # of its different characters beyond the standard: more is no pack of simplified Chinese


@functools.cache
def listed() -> np.ndarray:
    """Which code points are characters of GB 2312, bool [0x110000]."""
    names, script = script_table()
    found = np.zeros(0x110000, bool)
    for code in np.flatnonzero(script == names.index(HAN)).tolist():
        try:
            chr(code).encode("gb2312")
        except UnicodeEncodeError:
            continue
        found[code] = True
    return found


@functools.cache
def _east_asian() -> np.ndarray:
    """Which code points are Chinese characters or stand among them, bool [0x110000]."""
    names, script = script_table()
    return np.isin(script, [names.index(name) for name in (HAN, *BESIDE) if name in names])


def tally(codes: np.ndarray) -> tuple[int, int]:
    """(Chinese characters and letters that stand among them, those of them that simplified Chinese lacks)."""
    here = codes[_east_asian()[codes]]
    return len(here), int((~listed()[here]).sum())


def simplified(letters: np.ndarray) -> bool:
    """Whether the letters that a pack knows, as code points, are those of simplified Chinese."""
    count, beyond = tally(letters)
    return count > 0 and beyond <= SIMPLIFIED * count
