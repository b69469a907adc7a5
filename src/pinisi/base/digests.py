"""Computes digests of files, bytes and values, the same on every machine."""

import hashlib
import json
from pathlib import Path
from typing import Any

PIECE = 2**22  # bytes read at once


def of_bytes(data: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, read a piece at a time, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def of_value(value: Any) -> str:
    """Returns the SHA-256 of a value's JSON, keys sorted; what JSON doesn't know counts by its `str`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_text(text: str) -> int:
    """Returns the 64-bit key of a text: its BLAKE2b digest of 8 bytes. Equal texts have equal keys."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
