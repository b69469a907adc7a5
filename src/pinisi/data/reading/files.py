"""Reads JSON lines and text."""

import codecs
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from pinisi.data.lines import BOM, LINE, TooMuch, opened, unpacking_errors
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable

_DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, *unpacking_errors())
# The longer ones first: the mark of UTF-16 begins that of UTF-32.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _lines(part: Part, trouble: Trouble) -> Iterator[tuple[str, bytes]]:
    """(":line" or "@byte", line) of a part: those that begin in it."""
    at, number = 0, 0
    try:
        with opened(part.path) as file:
            if wide := _wide(file.peek(4)):  # type: ignore[attr-defined]
                if not part.first:
                    trouble(
                        Unreadable(f"{part.path}: is {wide.upper()}; convert it: iconv -f {wide} -t utf-8")
                    )
                return
            if part.first:  # the line that the part before reaches into belongs to that one
                file.seek(part.first - 1)
                at = part.first - 1 + _skip(file)
            while part.stop is None or at < part.stop:
                line = file.readline(LINE)
                if not line:
                    return
                number += 1
                place = f":{number}" if part.stop is None else f"@{at}"
                at += len(line)
                if len(line) == LINE and not line.endswith(b"\n"):
                    at += _skip(file)
                    trouble(Unreadable(f"{part.path}{place}: a line of more than {LINE // 2**20} MiB"))
                elif line.strip():
                    yield place, line
    except _DAMAGE as error:
        what = f"cut off or damaged behind line {number} ({_what(error)}); the lines before it are used"
        trouble(Unreadable(str(error) if isinstance(error, TooMuch) else f"{part.path}: {what}"))


def _what(error: Exception) -> str:
    return str(error) or "the packed data end too early"


def _wide(head: bytes) -> str:
    """The encoding with wide characters whose byte-order mark a file begins with, or ""."""
    return next((name for mark, name in _WIDE if head.startswith(mark)), "")


def _skip(file: IO[bytes]) -> int:
    """Bytes up to the end of the line."""
    count = 0
    while piece := file.readline(2**20):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count


def jsonl(part: Part, source: Source, trouble: Trouble) -> Records:
    """A record a line. Files that were put together may have a byte-order mark at the beginning of any line."""
    for place, line in _lines(part, trouble):
        try:
            record = _parsed(line.removeprefix(BOM).decode("utf-8"))
        except UnicodeDecodeError as error:
            trouble(Unreadable(f"{part.path}{place}: byte {error.start} of the line is not UTF-8"))
            continue
        except ValueError as error:
            trouble(Unreadable(f"{part.path}{place}: not JSON ({error})"))
            continue
        except RecursionError:
            trouble(Unreadable(f"{part.path}{place}: JSON nested too deep"))
            continue
        if isinstance(record, dict):
            yield place, record
        else:
            trouble(Unreadable(f"{part.path}{place}: a JSON {type(record).__name__} instead of an object"))


def _parsed(line: str) -> Any:
    """A number of more digits than Python makes of a text stays a text."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=_integer)


def _integer(digits: str) -> int | str:
    with suppress(ValueError):
        return int(digits)
    return digits


def text(part: Part, source: Source, trouble: Trouble) -> Records:
    """The whole file as one record, in UTF-8, or in UTF-16 or -32 with a byte-order mark."""
    try:
        with opened(part.path) as file:
            text = file.read(LINE + 1)
    except _DAMAGE as error:
        what = f"{part.path}: can't be read ({_what(error)})"
        trouble(Unreadable(str(error) if isinstance(error, TooMuch) else what))
        return
    if len(text) > LINE:
        trouble(Unreadable(f"{part.path}: more than {LINE // 2**20} MiB in one document; make it JSON lines"))
        return
    encoding = _wide(text[:4]) or "utf-8-sig"
    try:
        yield "", {source.text_key: text.decode(encoding)}
    except UnicodeDecodeError as error:
        trouble(Unreadable(f"{part.path}: byte {error.start} is not {encoding.removesuffix('-sig').upper()}"))
