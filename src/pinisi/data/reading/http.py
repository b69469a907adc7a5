"""Takes an HTTP response apart, as crawlers store it: status, headers, and the body without its packing."""

import re
import zlib
from typing import NamedTuple

from pinisi.base.libraries import library
from pinisi.data.reading.whole import MOST

STATUS = re.compile(rb"HTTP/[\d.]+[ \t]+(\d{3})")
HEAD_END = re.compile(rb"\r?\n\r?\n")
CHUNK = re.compile(rb"[ \t\r\n]*([0-9a-fA-F]+)[^\n]{0,200}\n")


class Response(NamedTuple):
    status: int | None  # None: what stands there isn't HTTP; it is all body
    headers: dict[str, str]  # names in small letters; the last of a name counts
    body: bytes  # unpacked, at most MOST bytes


def response(block: bytes) -> Response:
    """What a block holds. A body that isn't packed as its headers say is taken as it is: crawlers unpack and forget the header."""
    begin = STATUS.match(block)
    if begin is None:
        return Response(None, {}, block)
    end = HEAD_END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    headers = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _joined(body)
    for packing in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _unpacked(body, packing.strip())
    return Response(int(begin.group(1)), headers, body)


def _joined(body: bytes) -> bytes:
    """The chunks of a body put together; all of it where it has none."""
    found, at = [], 0
    while chunk := CHUNK.match(body, at):
        size = int(chunk.group(1), 16)
        found.append(body[chunk.end() : chunk.end() + size])
        at = chunk.end() + size
        if not size:
            break
    return b"".join(found) if found else body


def _unpacked(body: bytes, packing: str) -> bytes:
    """As far as it can be unpacked; as it is where it can't."""
    if packing in ("gzip", "x-gzip", "deflate"):
        for bits in (47, -15):  # gzip or zlib by its head, else deflate without one, as some servers send it
            try:
                return zlib.decompressobj(bits).decompress(body, MOST) or body
            except zlib.error:
                continue
    elif packing == "br":
        brotli = library("brotli")
        try:
            unpack, found = brotli.Decompressor(), b""
            for at in range(0, len(body), 2**16):
                found += unpack.process(body[at : at + 2**16])
                if len(found) > MOST:
                    break
            return found[:MOST] or body
        except brotli.error:
            return body
    elif packing == "zstd":
        zstandard = library("zstandard")
        try:
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)[:MOST] or body
        except zstandard.ZstdError:
            return body
    return body
