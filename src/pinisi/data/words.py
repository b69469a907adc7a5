"""Words of text in scripts that put spaces between them."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

import numpy as np

from pinisi.data.scripts import LETTER, classes, unspaced

ENOUGH = 100_000  # characters that tell a text's script


def words(text: str) -> list[str]:
    """The words of a text: segments with a letter or a digit by the default word boundaries of Unicode (UAX 29).

    Letters and digits hold together, with their marks, across `_`, and across an apostrophe, a full stop, a
    colon or a middle dot between two letters, a comma, a full stop or a semicolon between two digits. For
    scripts that put no spaces between words (see has_spaces) this says nothing.
    """
    return [word for word in _pattern().findall(text) if not set(word) <= {"_"}]


def has_spaces(texts: Iterable[str]) -> bool:
    """Whether most letters at the beginning of these texts are of scripts that put spaces between words."""
    letters = without = seen = 0
    for text in texts:
        part = np.frombuffer(text[: ENOUGH - seen].encode("utf-32-le", "surrogatepass"), np.uint32)
        seen += len(part)
        without += int(unspaced()[part].sum())
        letters += int((classes()[part] == LETTER).sum())
        if seen >= ENOUGH:
            break
    return 2 * without <= letters


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """\\w has no combining marks, so they are listed: categories M and Cf, as word boundaries extend."""
    marks = _ranges(
        number
        for number in chain(range(0x20000), range(0xE0000, 0xE1000))  # no marks elsewhere (Unicode 17)
        if unicodedata.category(chr(number)) in ("Mn", "Mc", "Me", "Cf") and number not in (0x200B, 0xFEFF)
    )
    letter, mark = r"[^\W\d_]", f"[{marks}]"
    mid_letter, mid_number, quote = (
        ":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a",
        ",;\u037e\u0589\uff0c\uff1b",
        "'.\u2018\u2019\u2024\ufe52\uff07\uff0e",
    )
    between_letters = f"(?:(?<={letter})|(?<={mark}))[{mid_letter}{quote}](?={letter})"
    between_digits = rf"(?<=\d)[{mid_number}{quote}](?=\d)"
    return re.compile(f"(?:\\w{mark}*|{between_letters}|{between_digits})+")


def _ranges(numbers: Iterable[int]) -> str:
    """The inside of a character class."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in found)
