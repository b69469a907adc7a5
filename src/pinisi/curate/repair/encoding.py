"""Mends text whose bytes were read in the wrong encoding, and puts it into NFC."""

import re
import unicodedata
from itertools import groupby

from pinisi.base.libraries import library
from pinisi.curate.repair.code import is_code

# UTF-8 read as Latin-1 or Windows-1252 shows one of these; ftfy then decides.
_SUSPECT = re.compile(
    r"[\u00c2-\u00f4\u0102\u0103\u0111][\u0080-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
_STRETCH = 4000  # characters that are looked at together: ftfy goes over them many times
_FIRM = re.compile(r"[\x21-\x7e](?=[\x21-\x7e])")  # a place to cut at, outside of any character's bytes
_C1 = re.compile(r"[\x80-\x9f]")
_LETTER = re.compile(r"[^\W_]")
# Windows-1252 has no character for the other five.
_WINDOWS = {
    code: bytes([code]).decode("cp1252")
    for code in range(0x80, 0xA0)
    if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_MARKS = re.compile(r"[^\w\s\x00-\x7f]{64,}")  # more marks than any letter has
# Letters that Latin-1 doesn't read: what stands beside them is damage of another kind.
_FOREIGN = r"[\u0250-\u1fff\u2c00-\ud7ff\uf900-\U0010ffff]"
_AMONG_FOREIGN = re.compile(rf"{_FOREIGN}[\x80-\x9f]|[\x80-\x9f]{_FOREIGN}")
_NEL = "\x85"
# What stands behind three dots, but does not begin a line.
_BEHIND_DOTS = re.compile(r"\x85(?=[ \r\n\"'\x92\x94)\]?!.,;])")


def composed(text: str) -> str:
    """Puts a text into NFC."""
    return unicodedata.normalize("NFC", _MARKS.sub(_in_order, text))


def _in_order(marks: re.Match[str]) -> str:
    """Sorts combining marks by their classes as NFC does, but in n log n steps; Python's own sort takes n squared."""
    parts: list[str] = []
    for combining, group in groupby(marks[0], _is_combining):
        run = "".join(group)
        parts += sorted(_taken_apart(run), key=unicodedata.combining) if combining else run
    return "".join(parts)


def _is_combining(character: str) -> bool:
    return unicodedata.combining(character) > 0


def _taken_apart(marks: str) -> str:
    return "".join(unicodedata.normalize("NFD", mark) for mark in marks)


def decoded(text: str) -> str:
    """Reads again, line by line since one page may mix encodings, what was UTF-8 or Windows-1252 and read as Latin-1.

    Programs, and texts with pieces of them, that have other characters in good order show wrong ones on purpose.
    """
    if _SUSPECT.search(text):
        lines = text.split("\n")
        mended = [_read_again(line) for line in lines]
        if mended != lines and not (_is_in_order(lines, mended) and _shows_code(text)):
            text = "\n".join(mended)
    return _windows(text) if _C1.search(text) else text


def _read_again(line: str) -> str:
    if not _SUSPECT.search(line):
        return line
    fix = library("ftfy").fix_encoding
    return "".join(fix(part) if _SUSPECT.search(part) else part for part in _stretches(line))


def _is_in_order(lines: list[str], mended: list[str]) -> bool:
    """Whether some lines have more than ASCII and were read well."""
    return any(old == new and not old.isascii() for old, new in zip(lines, mended, strict=True))


def _shows_code(text: str) -> bool:
    return "```" in text or ">>> " in text or is_code(text)


def _stretches(line: str) -> list[str]:
    """The line in parts, cut between two characters of ASCII where there are such."""
    parts, start = [], 0
    while len(line) - start > 2 * _STRETCH:
        cut = _FIRM.search(line, start + _STRETCH, start + 2 * _STRETCH)
        end = cut.end() if cut else start + 2 * _STRETCH
        parts.append(line[start:end])
        start = end
    return [*parts, line[start:]]


def _windows(text: str) -> str:
    """Makes of C1 controls the characters that Windows-1252 has there, in lines that have letters, and no other controls."""
    kept = dict(_WINDOWS)
    if not _dots(text):
        del kept[0x85]
    return "\n".join(line.translate(kept) if _is_windows(line) else line for line in text.split("\n"))


def _is_windows(line: str) -> bool:
    found = _C1.findall(line)
    if not found or not all(ord(one) in _WINDOWS for one in found) or _AMONG_FOREIGN.search(line):
        return False
    return len(found) <= 4 + 0.2 * len(line) and len(found) <= len(_LETTER.findall(line))


def _dots(text: str) -> bool:
    """Whether U+0085 is Windows-1252's three dots and not a line break: by its company, or by what follows it."""
    total = text.count(_NEL)
    others = len(_C1.findall(text)) - total
    return total > 0 and (others > 0 or 2 * len(_BEHIND_DOTS.findall(text)) > total)
