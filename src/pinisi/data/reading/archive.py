"""Reads the records of a WARC file with FastWARC, and goes on behind what is cut off or damaged."""

import re
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from pinisi.base.libraries import library
from pinisi.data.lines import opened
from pinisi.data.reading.http import HEAD_END
from pinisi.data.reading.source import Part, Trouble, Unreadable
from pinisi.data.reading.whole import MOST

LENGTH = re.compile(rb"^Content-Length:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
KINDS = ("response", "conversion")
GZIP, ZSTD, PLAIN = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"WARC/"
BLOCK = 2**18  # bytes from which the beginning of anything can be unpacked
WINDOW = 2**20  # bytes in which the next record is looked for at once


class Record(NamedTuple):
    number: int  # from 1, of all that could be read, of whatever kind
    kind: str
    headers: dict[str, str]
    block: bytes  # at most MOST bytes


def records(part: Part, trouble: Trouble) -> Iterator[Record]:
    """Responses and conversions of a file: plain, .gz, .zst or .lz4. What is damaged is told, and the records behind it are read
    if each is packed by itself, as crawlers do."""
    with opened(part.path, unpack=False) as file:
        start: int | None = 0
        number, known = 0, False  # known: the damage at this place has been told
        while start is not None:
            file.seek(start)
            last = None
            try:
                for record in library("fastwarc").ArchiveIterator(file, parse_http=False):
                    number, last, known = number + 1, record.stream_pos, False
                    kind = str(record.record_type)
                    if kind == "unknown":
                        raise OSError("a record's header is torn")
                    if kind in KINDS:
                        yield Record(number, kind, dict(record.headers.items()), record.reader.read(MOST))
                if last is not None and _is_torn(file, last):
                    rest = "what is there is used"
                    trouble(Unreadable(f"{part.path}: cut off in or behind record {number}; {rest}"))
                return
            except OSError as error:
                start = _next(file, (start if last is None else last) + 1)
                if not known:
                    rest = "the file ends there" if start is None else f"reading goes on at byte {start}"
                    trouble(Unreadable(f"{part.path}: damaged behind record {number} ({error}); {rest}"))
                known = True


def _is_torn(file: IO[bytes], last: int) -> bool:
    """Whether the last record, at `last`, is not whole, or something begins behind it: FastWARC is silent about both."""
    file.seek(last)
    head = file.read(BLOCK)
    if head.startswith(GZIP):
        file.seek(last)
        return _is_torn_gzip(file)
    if not head.startswith(PLAIN):
        return False
    length = LENGTH.search(head)
    end = HEAD_END.search(head)
    if length is None or end is None:
        return True
    stop = last + end.end() + int(length.group(1))
    size = file.seek(0, 2)
    file.seek(stop)
    return size < stop or bool(file.read(BLOCK).strip())


def _is_torn_gzip(file: IO[bytes]) -> bool:
    member, members = zlib.decompressobj(31), 1
    while data := file.read(WINDOW):
        while data:
            if member.eof:
                members += 1
                member = zlib.decompressobj(31)
            try:
                data = (member.decompress(data, WINDOW), member.unused_data or member.unconsumed_tail)[1]
            except zlib.error:
                return True
    return not member.eof or members > 1


def _next(file: IO[bytes], after: int) -> int | None:
    """Where the next record begins; None where there is none, or none packed by itself."""
    file.seek(0)
    head = file.read(len(PLAIN))
    magic = next((each for each in (GZIP, ZSTD, PLAIN) if head.startswith(each)), None)
    while magic:
        file.seek(after)
        window = file.read(WINDOW + len(magic))
        found = window.find(magic)
        if found >= 0 and _begins(file, after + found, magic):
            return after + found
        if found < 0 and len(window) <= WINDOW:
            return None
        after += WINDOW if found < 0 else found + 1
    return None


def _begins(file: IO[bytes], at: int, magic: bytes) -> bool:
    """Whether a record begins there, and not just bytes that look so."""
    file.seek(at)
    data = file.read(BLOCK)
    try:
        if magic == GZIP:
            data = zlib.decompressobj(31).decompress(data, 16)
        elif magic == ZSTD:
            data = library("zstandard").ZstdDecompressor().decompressobj().decompress(data)
    except Exception:  # whatever a library says of bytes that aren't its own
        return False
    return data.startswith(b"WARC/1.") or data.startswith(b"WARC/0.")
