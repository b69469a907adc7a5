"""Takes fingerprints of text: hashes of some of its runs of letters, the same wherever the text stands and however it is spaced.

Spaces, signs, case and normal form are folded away first. A run has as many letters as the script says that it begins in. Those are
kept whose hash is the least of WINDOW neighbours (winnowing: Schleimer, Wilkerson and Aiken 2003, doi 10.1145/872757.872770).
So two texts that share a stretch of a run and WINDOW - 1 letters share a fingerprint, and about two in WINDOW + 1 hashes are kept.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np

from pinisi.data.text.scripts import DIGIT, LETTER, classes, script_table, unspaced
from pinisi.data.text.segmentation import codes

FORMAT = 1  # raise it when the same text gives other fingerprints
WINDOW = 2
# Letters of a run: a Chinese character stands for about two letters and more; letters of scripts without spaces come with marks,
# which count.
HAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
LENGTH_HAN, LENGTH_UNSPACED, LENGTH_OTHER = 6, 14, 16
# Most marks: a syllable takes three code points.
MARKED, LENGTH_MARKED = ("MYANMAR", "KHMER"), 22
# A tone mark and the nikhahit, which a Thai or Lao "am" decomposes to, are typed in either order.
_AM = re.compile("([\u0e48-\u0e4b])\u0e4d|([\u0ec8-\u0ecb])\u0ecd")
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of splitmix64
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that its powers have inverses modulo 2^64


def folded(text: str) -> np.ndarray:
    """The letters, marks and digits of a text in one normal form and lower case, as code points, uint32."""
    found = _letters(unicodedata.normalize("NFKC", text).casefold())
    if len(found) == 0 or found.max() < 128:
        return found
    # again, of letters that nothing stands between any more
    joined = found.tobytes().decode("utf-32-le", "surrogatepass")
    return _letters(_AM.sub(_nikhahit_first, unicodedata.normalize("NFKC", joined)))


def _letters(text: str) -> np.ndarray:
    found = codes(text)
    kinds = classes()[found]
    return found[(kinds == LETTER) | (kinds == DIGIT)]


def _nikhahit_first(match: re.Match[str]) -> str:
    return f"\u0e4d{match[1]}" if match[1] else f"\u0ecd{match[2]}"


class Fingerprints:
    """Fingerprints of one text. letters: it has so many. windows: for each place where WINDOW runs stand side by side, the least
    hash of them, uint64; a text without any is too short to be recognised."""

    def __init__(self, text: str) -> None:
        characters = folded(text)
        self.letters = len(characters)
        hashes = run_hashes(characters)
        count = len(hashes) - WINDOW + 1
        self.windows = hashes[: max(count, 0)].copy()
        for shift in range(1, WINDOW):
            np.minimum(self.windows, hashes[shift : shift + len(self.windows)], out=self.windows)

    def kept(self) -> np.ndarray:
        """Those that are kept, each once, in order, uint64."""
        return np.unique(self.windows)


def run_hashes(characters: np.ndarray) -> np.ndarray:
    """A hash of the run that begins at each place, uint64; the last places, whose run the text's end cuts, are left out."""
    if not len(characters):
        return np.zeros(0, np.uint64)
    powers, inverses = _powers(1 << (len(characters) - 1).bit_length())
    sums = np.zeros(len(characters) + 1, np.uint64)
    np.cumsum(_mixed(characters.astype(np.uint64)) * powers[: len(characters)], out=sums[1:])
    ends = np.arange(len(characters)) + _lengths()[characters]
    cut = np.flatnonzero(ends > len(characters))
    whole = int(cut[0]) if len(cut) else len(characters)
    starts = np.arange(whole)
    return _mixed((sums[ends[:whole]] - sums[starts]) * inverses[:whole])


@cache
def _lengths() -> np.ndarray:
    """For each code point how many letters a run has that begins with it, int64 [0x110000]."""
    names, script = script_table()
    of = np.where(unspaced(), LENGTH_UNSPACED, LENGTH_OTHER)
    for group, length in ((HAN, LENGTH_HAN), (MARKED, LENGTH_MARKED)):
        of[np.isin(script, [names.index(name) for name in group if name in names])] = length
    return of


@cache
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the base and of its inverse, modulo 2^64."""
    inverse = np.uint64(pow(int(_BASE), -1, 2**64))
    found = []
    for base in (_BASE, inverse):
        factors = np.full(count, base, np.uint64)
        factors[0] = 1
        found.append(np.cumprod(factors, dtype=np.uint64))
    return found[0], found[1]


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spreads bits (splitmix64), so that neighbours in value are none in hash."""
    values = values + _BASE
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))
