"""Turns a text into hashed features: runs of words (or of letters with their marks, where a script has no spaces) and of
characters.

The words say what a text is about and how it puts it; the characters see punctuation, digits and line breaks, of which the
words know nothing. Hashed as in Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009),
without signs; the classifier on them is fastText's (Joulin et al., arXiv 1607.01759) with vectors of one number.
"""

import numpy as np

from pinisi.curate.duplicates.hashes import BASE, mix
from pinisi.curate.duplicates.near import unit_hashes
from pinisi.data.text.segmentation import codes

BITS = 18
WORDS, CLUSTERS = (1, 2), (1, 2, 3)  # lengths of runs
CHARACTERS = 3
SEEDS = {"units": 1, "characters": 2}


def features(text: str, *, spaces: bool) -> tuple[np.ndarray, np.ndarray]:
    """(places [n] int32 below 2^18, ascending; values [n] fp32 of length 1 together): 1 + log of how often each occurs.

    spaces: whether the script puts spaces between words. A text without a character has none.
    """
    units = unit_hashes(text, spaces)
    letters = codes(text.lower()).astype(np.uint64)
    letters[(letters >= ord("0")) & (letters <= ord("9"))] = ord("0")
    found = [_runs(units, width, SEEDS["units"]) for width in (WORDS if spaces else CLUSTERS)]
    found.append(_runs(letters, CHARACTERS, SEEDS["characters"]))
    places, times = np.unique(np.concatenate(found) >> np.uint64(64 - BITS), return_counts=True)
    values = 1 + np.log(times)
    return places.astype(np.int32), (values / max(1e-9, np.sqrt((values**2).sum()))).astype(np.float32)


def _runs(values: np.ndarray, width: int, seed: int) -> np.ndarray:
    """A hash of each run of `width` values."""
    count = len(values) - width + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    total = np.full(count, seed * 16 + width, np.uint64)
    for offset in range(width):
        total = total * np.uint64(BASE) + values[offset : offset + count]
    return mix(total)
