"""Cuts text into words, or into letters with their marks where a script puts no spaces between words.

Words follow the default word boundaries of Unicode (UAX 29): letters and digits hold together, with their marks, across `_`, and
across an apostrophe, a full stop, a colon or a middle dot between two letters, a comma, a full stop or a semicolon between two
digits. In a script without spaces a unit is a cluster: a letter with its marks, the letters stacked under it, and the vowels that
Unicode encodes beside it. Tibetan parts syllables by U+0F0B, and a syllable is its word.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from pinisi.data.text import scripts
from pinisi.data.text.scripts import ASSIGNED, SELECTORS, syllabic, unspaced

# What a character is to its neighbours; sums of these stand in `kinds()`.
LETTER = 1
DIGIT = 2  # every number sign: Nd, Nl, No
MARK = 4
FORMAT = 8  # invisible: zero-width joiners, soft hyphen, directions
JOINS = 16  # stands in one cluster with the character before it
PULLS = 32  # stands in one cluster with the character after it
SOLID = 64  # letters and marks of scripts whose words are not parted by spaces or signs
BETWEEN_LETTERS, BETWEEN_DIGITS = 1, 2  # of `middles()`
TIE = ord("_")  # joins words, and is none alone
ZERO_WIDTH_SPACE, BYTE_ORDER_MARK = 0x200B, 0xFEFF

# Thai, Lao, Tai Viet and New Tai Lue vowels that are letters to Unicode: written before their consonant, or after it.
BEFORE = (
    *range(0x0E40, 0x0E45), *range(0x0EC0, 0x0EC5), 0xAAB5, 0xAAB6, 0xAAB9, 0xAABB, 0xAABC, *range(0x19B5, 0x19B8), 0x19BA,
)  # fmt: skip
AFTER = (0x0E30, 0x0E32, 0x0E33, 0x0E45, 0x0EB0, 0x0EB2, 0x0EB3)
# Signs that put the next consonant under the one before: of Khmer, Myanmar, Tai Tham, Javanese, Balinese, Sundanese.
STACKERS = (0x17D2, 0x1039, 0x1A60, 0xA9C0, 0x1B44, 0x1BAB)
ZERO_WIDTH_JOINER = 0x200D
SKIN_TONES = range(0x1F3FB, 0x1F400)

ENOUGH = 100_000  # characters that tell a text's script
BLOCK = 1 << 20  # code points worked on at once: what bounds the memory of one very long text


@cache
def kinds() -> np.ndarray:
    """Returns for each code point the sum of LETTER, DIGIT, MARK, FORMAT, JOINS, PULLS and SOLID, uint8 [0x110000]."""
    table = np.zeros(0x110000, np.uint8)
    of_category = {"L": LETTER, "N": DIGIT, "M": MARK | JOINS}
    for code in (*range(ASSIGNED), *SELECTORS):
        category = unicodedata.category(chr(code))
        table[code] = FORMAT if category == "Cf" else of_category.get(category[0], 0)
    table[unspaced() & ~syllabic()] |= SOLID
    table[[*BEFORE, *STACKERS, ZERO_WIDTH_JOINER]] |= PULLS
    table[[*AFTER, *SKIN_TONES, ZERO_WIDTH_JOINER]] |= JOINS
    return table


@cache
def middles() -> np.ndarray:
    """Returns which signs hold two letters or two digits together (UAX 29: MidLetter, MidNum, MidNumLet), uint8 [0x110000]."""
    table = np.zeros(0x110000, np.uint8)
    table[[ord(sign) for sign in ":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a"]] = BETWEEN_LETTERS
    table[[ord(sign) for sign in ",;\u037e\u0589\uff0c\uff1b"]] = BETWEEN_DIGITS
    table[[ord(sign) for sign in "'.\u2018\u2019\u2024\ufe52\uff07\uff0e"]] = BETWEEN_LETTERS | BETWEEN_DIGITS
    return table


def codes(text: str) -> np.ndarray:
    """Returns the text's code points, uint32; halves of surrogate pairs too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def normal(text: str) -> str:
    """Returns `text` in lower case and NFC."""
    text = text.lower()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normal_codes(text: str) -> np.ndarray:
    """Returns the code points of `text` in lower case and NFC without invisible format characters, uint32."""
    found = np.frombuffer(normal(text).encode("utf-32-le", "replace"), np.uint32)
    ignored = scripts.classes()[found] == scripts.IGNORED
    return found[~ignored] if ignored.any() else found


class Units(NamedTuple):
    """Where units of text lie in an array of code points: [start, end) of each."""

    starts: np.ndarray
    ends: np.ndarray


def units(characters: np.ndarray, spaces: bool) -> Units:
    """Finds the words of code points [n], or (not `spaces`) clusters of scripts without spaces and words of the others."""
    nothing = Units(np.zeros(0, np.int64), np.zeros(0, np.int64))
    of = kinds()[characters]
    hangs = ((of & (MARK | FORMAT)) != 0) & (characters != ZERO_WIDTH_SPACE) & (characters != BYTE_ORDER_MARK)
    place = np.flatnonzero(
        ~hangs
    )  # of characters that stand by themselves; the others hang on the one before
    if not len(place):
        return nothing
    of_base, base = of[place], characters[place]
    letter, digit = (of_base & LETTER) != 0, (of_base & DIGIT) != 0
    inside = letter | digit | (base == TIE)
    middle = np.flatnonzero(middles()[base[1:-1]]) + 1
    kind = middles()[base[middle]]
    letters = (kind & BETWEEN_LETTERS != 0) & letter[middle - 1] & letter[middle + 1]
    digits = (kind & BETWEEN_DIGITS != 0) & digit[middle - 1] & digit[middle + 1]
    inside[middle[letters | digits]] = True
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    if not spaces:
        solid = (of_base & SOLID) != 0
        joined = ((of_base[1:] & JOINS) != 0) | ((of[place[1:] - 1] & PULLS) != 0)
        begins[1:] |= inside[1:] & (solid[1:] | solid[:-1]) & ~joined
    ends = inside.copy()
    ends[:-1] &= ~inside[1:] | begins[1:]
    after = np.append(place[1:], len(characters))  # marks behind a character belong to it
    first, last = np.flatnonzero(begins), np.flatnonzero(ends)
    solid_words = (
        np.add.reduceat(np.append((letter | digit).astype(np.int64), 0), first) if len(first) else first
    )
    said = solid_words > 0 if len(first) else np.zeros(0, bool)  # not of ties alone
    return Units(place[first[said]], after[last[said]])


def words(text: str, *, spaces: bool = True) -> list[str]:
    """Returns the words of a text as they stand, or (not `spaces`) clusters of scripts without spaces and words of the others."""
    found: list[str] = []
    for block in blocks(text):
        found += sliced(block, units(codes(block), spaces))
    return found


def normal_words(text: str, *, spaces: bool = True) -> list[str]:
    """Returns the same in lower case and NFC, without invisible characters; U+200B parts words only where there are spaces."""
    text = normal(text)
    if not text.isascii():
        characters = codes(text)
        hidden = (kinds()[characters] & FORMAT) != 0
        if spaces:
            hidden &= characters != ZERO_WIDTH_SPACE
        if hidden.any():
            text = characters[~hidden].tobytes().decode("utf-32-le", "surrogatepass")
    return words(text, spaces=spaces)


def sliced(text: str, of: Units) -> list[str]:
    """Returns the units of a text as strings."""
    return [text[start:end] for start, end in zip(of.starts.tolist(), of.ends.tolist(), strict=True)]


def has_spaces(texts: Iterable[str]) -> bool:
    """Tells whether most letters at the beginning of these texts are of scripts that put spaces between words."""
    letters = without = seen = 0
    for text in texts:
        part = codes(text[: ENOUGH - seen])
        seen += len(part)
        without += int(unspaced()[part].sum())
        letters += int((scripts.classes()[part] == scripts.LETTER).sum())
        if seen >= ENOUGH:
            break
    return 2 * without <= letters


def clusters_begin(of: np.ndarray) -> np.ndarray:
    """Tells of characters of these kinds [n] which begin a cluster, a letter with its marks. The first always does."""
    begins = np.ones(len(of), bool)
    begins[1:] = ((of[1:] & JOINS) == 0) & ((of[:-1] & PULLS) == 0)
    return begins


def borders(text: str) -> np.ndarray:
    """Tells where text may be cut, bool [len(text) + 1]: not within a cluster, nor within a word of a script with spaces."""
    safe = np.ones(len(text) + 1, bool)
    for start in range(0, len(text), BLOCK):
        before = max(0, start - 1)
        of = kinds()[codes(text[before : start + BLOCK])]
        word = ((of & (LETTER | DIGIT | MARK)) != 0) & ((of & SOLID) == 0)
        safe[before + 1 : before + len(of)] = clusters_begin(of)[1:] & ~(word[1:] & word[:-1])
    return safe


def blocks(text: str, size: int = BLOCK) -> Iterator[str]:
    """Yields the text in pieces of at most `size` characters that end after white space or, without any, between clusters."""
    start = 0
    while len(text) - start > size:
        end = 1 + max(text.rfind(space, start, start + size) for space in " \n")
        if end <= start:
            safe = borders(text[start : start + size])[1:-1] if size > 1 else np.zeros(0, bool)
            end = start + (int(np.flatnonzero(safe)[-1]) + 1 if safe.any() else size)
        yield text[start:end]
        start = end
    yield text[start:]
