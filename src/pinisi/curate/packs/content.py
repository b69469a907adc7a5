"""Tells whether a pack has changed in anything that affects curation, whatever its version says."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from pinisi.curate.packs.pack import Pack

ABOUT = ("name", "version", "sources", "sizes")  # tell of a pack, and decide nothing


def content(pack: Pack) -> str:
    """A digest of all of a pack's statistics, word lists and limits: an edited pack.json gives another."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(pack):
        if field.name not in ABOUT:
            for piece in _bytes(getattr(pack, field.name)):
                digest.update(f"{field.name} {len(piece)} ".encode() + piece)
    return digest.hexdigest()


def _bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _bytes(getattr(value, field.name))
    else:
        yield repr(sorted(value.items()) if hasattr(value, "items") else value).encode()
