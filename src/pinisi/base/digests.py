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


def of_index(index: dict[str, Any]) -> str:
    """Returns the digest of all that an index says but its own key "digest"."""
    return of_value({key: value for key, value in index.items() if key != "digest"})


def damage(folder: Path, files: dict[str, str], share: int = 0, shares: int = 1) -> str | None:
    """Reads a share of the files ({name: digest}) whole; returns what is wrong with the first that is not as it was written."""
    for name, digest in sorted(files.items())[share::shares]:
        path = folder / name
        try:
            if path.exists() and not path.is_file():  # of a pipe nothing might ever come
                return f"{path} can't be read: it is no file"
            if of_file(path) != digest:
                return f"{path} is damaged: its digest is another one than it was written with"
        except OSError as error:
            return f"{path} can't be read: {error.strerror or error}"
    return None


def of_text(text: str) -> int:
    """Returns the 64-bit key of a text: its BLAKE2b digest of 8 bytes. Equal texts have equal keys."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
