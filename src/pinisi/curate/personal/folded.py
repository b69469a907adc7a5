"""Folds a text to one form of digits and signs without changing its length, and says what stands before a place in it."""

import re
import sys
import unicodedata
from functools import cache

BEFORE = 40  # characters in which a label such as "NIK:" may stand before its number
NEXT = 12  # characters between a label and its number, such as ": " or " Anda: "


@cache
def _table() -> dict[int, str]:
    """Digits of every script, full-width letters and signs, the kinds of hyphens and of spaces: one character for one."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    for code in range(0x80, sys.maxunicode + 1):
        if (value := unicodedata.decimal(chr(code), None)) is not None:
            table[code] = str(value)
    return (
        table | dict.fromkeys(range(0x2010, 0x2016), "-") | {0x2212: "-", 0xA0: " ", 0x202F: " ", 0x3000: " "}
    )


def folded(text: str) -> str:
    """Returns `text` with ASCII digits and signs for those of other scripts; just as long."""
    return text if text.isascii() else text.translate(_table())


def labels(*names: str) -> re.Pattern[str]:
    """Matches one of the names at the end of a text, with little behind it. A name in ASCII letters stands alone."""
    alone = "|".join(re.escape(name) for name in names if name.isascii())
    within = "|".join(re.escape(name) for name in names if not name.isascii())
    parts = [rf"(?<![a-z])(?:{alone})(?![a-z])" if alone else "", within]
    return re.compile(rf"(?:{'|'.join(filter(None, parts))})[^\n0-9]{{0,{NEXT}}}$")


def labelled(text: str, start: int, label: re.Pattern[str]) -> bool:
    """Tells whether the label stands right before `start`."""
    return label.search(text[max(0, start - BEFORE) : start].lower()) is not None
