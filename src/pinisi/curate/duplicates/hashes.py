"""Hashes runs of code points and bytes, the same on every machine and in every process, which Python's hash() is not.

A hash is a polynomial over the code points modulo 2^64, b odd, from prefix sums P: of a run [i, j) it is (P[j] - P[i]) b^-i, mixed
afterwards by the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from functools import cache

import numpy as np

from pinisi.data.text.segmentation import BLOCK

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 1 << 64)


def mix(values: np.ndarray) -> np.ndarray:
    """Makes every bit of each uint64 depend on every bit of what was given: SplitMix64's finalizer, a bijection."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


@cache
def _powers(base: int, bits: int) -> np.ndarray:
    powers = np.full(1 << bits, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def powers(base: int, count: int) -> np.ndarray:
    """Returns base^0 .. base^(count - 1) modulo 2^64; tables are kept, at most 8 MiB for a block."""
    if count > BLOCK:
        return _powers.__wrapped__(base, count.bit_length())[:count]
    return _powers(base, max(8, (count - 1).bit_length()))[:count]


def run_hashes(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns a uint64 hash of each run values[start:end] of code points or bytes; equal runs have equal hashes."""
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum((values + np.uint64(1)) * powers(BASE, len(values)), out=prefix[1:])
    return mix((prefix[ends] - prefix[starts]) * powers(INVERSE, len(values) + 1)[starts])
