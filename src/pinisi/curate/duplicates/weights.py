"""Measures text in units that scripts share: a letter of an alphabet is one, an ideograph says as much as three."""

from functools import cache

import numpy as np

from pinisi.data.text.scripts import script_table
from pinisi.data.text.segmentation import DIGIT, LETTER, MARK, codes, kinds

# NTREX-128's news take 128,000 characters in English, 123,000 to 151,000 in Indonesian, Malay, Filipino, Vietnamese, Thai, Lao and
# Khmer (marks counted as Unicode counts them), and 45,500 in Chinese. A syllable of kana or Hangul is two letters or three.
HEAVY = {"CJK": 3, "HIRAGANA": 2, "KATAKANA": 2, "HANGUL": 2, "YI": 2}


@cache
def weights() -> np.ndarray:
    """Returns how many units each code point is, uint8 [0x110000]."""
    names, script = script_table()
    return np.array([HEAVY.get(name, 1) for name in names], np.uint8)[script]


@cache
def _letters() -> np.ndarray:
    """Returns the same, but 0 for what is no letter, mark or digit."""
    return np.where(kinds() & (LETTER | DIGIT | MARK) != 0, weights(), 0).astype(np.uint8)


def letters_of_lines(text: str) -> np.ndarray:
    """Returns the units of letters, marks and digits in each line of the text (text.split("\\n")), int64."""
    of = codes(text)
    total = np.concatenate([[0], np.cumsum(_letters()[of], dtype=np.int64)])
    return np.diff(np.concatenate([[0], total[np.flatnonzero(of == ord("\n"))], total[-1:]]))
