"""Text as arrays of code points: what a character is to its neighbours, where text may be cut, and stable hashes.

A hash here is a polynomial over the code points modulo 2^64, b odd, from prefix sums P: of a run [i, j) it is
(P[j] - P[i]) b^-i, mixed afterwards by the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
number generators", OOPSLA 2014). It is the same on every machine and in every process, which Python's hash() is not.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np

from pinisi.data.scripts import ASSIGNED, SELECTORS, unspaced

LETTER = 1  # letters and digits
MARK = 2  # combining marks
FORMAT = 4  # invisible: zero-width space and joiners, soft hyphen, directions
JOINS = 8  # stands in one cluster with the character before it
PULLS = 16  # stands in one cluster with the character after it
SOLID = 32  # letters and marks of scripts that write no spaces between words

BLOCK = 1 << 20  # code points worked on at once: what bounds the memory of one very long text
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 1 << 64)

# Thai and Lao vowels that are letters to Unicode: written before their consonant, or after it.
_BEFORE = (*range(0x0E40, 0x0E45), *range(0x0EC0, 0x0EC5))
_AFTER = (0x0E30, 0x0E32, 0x0E33, 0x0E45, 0x0EB0, 0x0EB2, 0x0EB3)
# What puts the next letter under this one: Khmer coeng, the viramas of Myanmar and Tai Tham; and the zero-width joiner.
_STACKS = (0x17D2, 0x1039, 0x1A60, 0x200D)
_SKIN_TONES = range(0x1F3FB, 0x1F400)


@cache
def classes() -> np.ndarray:
    """[0x110000] uint8: the sum of LETTER, MARK, FORMAT, JOINS, PULLS and SOLID of each code point."""
    table = np.zeros(0x110000, np.uint8)
    of_category = {"L": LETTER, "N": LETTER, "M": MARK | JOINS}
    for code in (*range(ASSIGNED), *SELECTORS):
        category = unicodedata.category(chr(code))
        table[code] = FORMAT if category == "Cf" else of_category.get(category[0], 0)
    table[unspaced()] |= SOLID
    table[list(_BEFORE + _STACKS)] |= PULLS
    table[[*_AFTER, *_SKIN_TONES]] |= JOINS
    table[0x200D] |= JOINS
    return table


def codes(text: str) -> np.ndarray:
    """The text's code points, uint32; lone surrogates too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def clusters_begin(kinds: np.ndarray) -> np.ndarray:
    """Of characters of these classes [n]: which begin a cluster, a letter with its marks. The first always does."""
    begins = np.ones(len(kinds), bool)
    begins[1:] = ((kinds[1:] & JOINS) == 0) & ((kinds[:-1] & PULLS) == 0)
    return begins


def borders(text: str) -> np.ndarray:
    """[len(text) + 1] bool: where text may be cut. Not within a cluster, nor within a word of a script with spaces."""
    safe = np.ones(len(text) + 1, bool)
    for start in range(0, len(text), BLOCK):
        before = max(0, start - 1)
        kinds = classes()[codes(text[before : start + BLOCK])]
        word = ((kinds & (LETTER | MARK)) != 0) & ((kinds & SOLID) == 0)
        safe[before + 1 : before + len(kinds)] = clusters_begin(kinds)[1:] & ~(word[1:] & word[:-1])
    return safe


def mix(values: np.ndarray) -> np.ndarray:
    """Every bit of each uint64 depends on every bit of what was given: SplitMix64's finalizer, a bijection."""
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
    """base^0 .. base^(count - 1) modulo 2^64; tables are kept, at most 8 MiB for a block."""
    if count > BLOCK:
        return _powers.__wrapped__(base, count.bit_length())[:count]
    return _powers(base, max(8, (count - 1).bit_length()))[:count]


def run_hashes(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A uint64 hash of each run values[start:end] of code points or bytes; equal runs have equal hashes."""
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum((values + np.uint64(1)) * powers(BASE, len(values)), out=prefix[1:])
    return mix((prefix[ends] - prefix[starts]) * powers(INVERSE, len(values) + 1)[starts])


def blocks(text: str, size: int = BLOCK) -> Iterator[str]:
    """The text in pieces of at most `size` characters that end after white space or, without any, between clusters."""
    start = 0
    while len(text) - start > size:
        end = 1 + max(text.rfind(space, start, start + size) for space in " \n")
        if end <= start:
            safe = borders(text[start : start + size])[1:-1] if size > 1 else np.zeros(0, bool)
            end = start + (int(np.flatnonzero(safe)[-1]) + 1 if safe.any() else size)
        yield text[start:end]
        start = end
    yield text[start:]


def text_key(text: str) -> int:
    """The 64-bit key of a text: its BLAKE2b digest of 8 bytes. Equal texts have equal keys, on any machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
