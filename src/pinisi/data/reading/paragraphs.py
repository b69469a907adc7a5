"""Makes paragraphs of the lines of printed pages: without running heads and page numbers, words put together again."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from pinisi.data.text.scripts import unspaced

EDGE = 3  # lines at the top and at the bottom of a page that may be running heads
OFTEN = 3  # pages that have the same line there, or all where there are fewer
PAGE_NUMBER = 14  # characters of one, at most
FAR = 1.4  # times the usual distance between lines: a paragraph begins
SYLLABLE, WORD = (
    8,
    24,
)  # letters of the longest first word: scripts without spaces break within what no space parts
ROOM = 1.3  # times the room that a word takes: letters differ in width, and printers leave some room
RAGGED = 0.6  # a line shorter than this ends a paragraph whatever its last sign is
OTHER_SIZE = 0.12  # share by which the size of letters differs from a heading's
NUMBER = re.compile(
    r"[\W_]*(?:\w{1,8}\s+)?(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|of|von|de|dari|từ|จาก)\s*\d{1,4})?[\W_]*",
    re.IGNORECASE,
)
DIGITS = re.compile(r"\d+")
ITEM = re.compile(r"\s*(?:[•◦▪■●‣–—*·\-]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s)")
DASH = re.compile(r"\s*[–—*·\-]\s")  # begins an item, or goes on in a sentence
ENDS = tuple('.!?:;。！？：；…។៕။།"”’»)）」』')
CLOSING = ("Po", "Pe", "Pf")  # signs that no space stands before
CUT = "\ufffe"  # a hyphen that parts a word at a line's end
CUT_WORD = re.compile(r"(\w+)(?:\ufffe\s*|[-‐]\n)(\w+)")


class PageLine(NamedTuple):
    """A line and where it stands, in points from the left and from the bottom."""

    text: str
    left: float
    right: float
    bottom: float
    size: float  # of its first letter


def joined(pages: list[list[PageLine]]) -> str:
    """The text of pages, paragraphs parted by an empty line."""
    lines = [line for page in _without_heads(pages) for line in [*page, None]]  # None: a page ends
    width = _width([line for line in lines if line])
    pitch = _pitch(pages)
    text, before, at_end = "", None, False
    for line in lines:
        if line is None:
            at_end = True
            continue
        if before is None:
            text = line.text
        elif _begins(before, line, width, 0.0 if at_end else pitch):
            text = text.rstrip() + ("\n" if ITEM.match(line.text) else "\n\n") + line.text.lstrip()
        else:
            text = _with(text, line.text)
        before, at_end = line, False
    return _words_whole(text).strip()


def _without_heads(pages: list[list[PageLine]]) -> list[list[PageLine]]:
    """Pages without the lines that stand at the same place of many, but for the numbers in them, and without page numbers."""
    counts: Counter[tuple[int, str]] = Counter()  # place: from the top, or below 0 from the bottom
    for page in pages:
        counts.update(
            (place, _key(page[place])) for place in range(-EDGE, EDGE) if -len(page) <= place < len(page)
        )
    often = max(2, min(OFTEN, len(pages)))

    def is_head(page: list[PageLine], place: int) -> bool:
        text = page[place].text.strip()
        number = len(pages) > 1 and len(text) < PAGE_NUMBER and NUMBER.fullmatch(text) is not None
        return number or counts[place, _key(page[place])] >= often

    found = []
    for page in pages:
        top = bottom = 0
        while top < min(EDGE, len(page)) and is_head(page, top):
            top += 1
        while bottom < min(EDGE, len(page) - top) and is_head(page, -1 - bottom):
            bottom += 1
        found.append(page[top : len(page) - bottom])
    return found


def _key(line: PageLine) -> str:
    return DIGITS.sub("#", " ".join(line.text.split())).casefold()


def _width(lines: list[PageLine]) -> float:
    """Of a full line: what a tenth of the lines reach."""
    widths = sorted(line.right - line.left for line in lines)
    return widths[int(len(widths) * 0.9)] if widths else 0.0


def _pitch(pages: list[list[PageLine]]) -> float:
    """The usual distance between lines."""
    steps = [
        above.bottom - below.bottom
        for page in pages
        for above, below in pairwise(page)
        if above.bottom > below.bottom
    ]
    return median(steps) if steps else 0.0


def _begins(before: PageLine, line: PageLine, width: float, pitch: float) -> bool:
    """Whether a paragraph begins with a line. pitch: 0 at the top of a page."""
    ended, item = before.text.rstrip().endswith(ENDS), ITEM.match(before.text)
    if ITEM.match(line.text) and (ended or item or not DASH.match(line.text)):
        return True
    if abs(before.size - line.size) > OTHER_SIZE * max(before.size, line.size):
        return True
    step = before.bottom - line.bottom
    if pitch and step > FAR * pitch:
        return True
    if pitch and step > 0 and line.left > before.left + line.size and not item:
        return True
    length = before.right - before.left
    return length < RAGGED * width or (ended and width - length > _room(before, line))


def _room(before: PageLine, line: PageLine) -> float:
    """What the first word of a line takes on the line before: where there was more room than that, the break was meant."""
    first = line.text.split(maxsplit=1)[0]
    word = min(len(first), SYLLABLE if _solid(first[0], unspaced()) else WORD) + 1
    return ROOM * word * (before.right - before.left) / max(1, len(before.text))


def _with(text: str, line: str) -> str:
    """Text that goes on in a line: no space where the script has none."""
    last, first = text[-1:], line[:1]
    if last in (CUT, " ") or first == " ":
        return text + line
    if last in "-‐" and text[-2:-1].isalpha() and first.islower():
        return f"{text}\n{line}"  # is decided when all words are known
    solid = unspaced()
    one = _solid(last, solid) and (_solid(first, solid) or unicodedata.category(first) in CLOSING)
    return text + ("" if one else " ") + line


def _solid(character: str, solid: np.ndarray) -> bool:
    """Whether a character's script sets no spaces between words. Chinese and Japanese signs set none behind them either."""
    code = ord(character)
    return bool(solid[code]) or 0x3000 <= code < 0x3040 or 0xFF00 <= code < 0xFF61


def _words_whole(text: str) -> str:
    """Words that were parted at a line's end, put together: with their hyphen where the text has it elsewhere, or where both
    halves are one word that is said twice (anak-anak)."""
    elsewhere = set(re.findall(r"\w+-\w+", text.casefold()))

    def whole(found: re.Match[str]) -> str:
        one, two = found.groups()
        with_hyphen = f"{one}-{two}"
        twice = one.casefold() == two.casefold()
        return with_hyphen if twice or with_hyphen.casefold() in elsewhere else one + two

    return CUT_WORD.sub(whole, text).replace(CUT, "")
