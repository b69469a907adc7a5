"""Reads and writes what a checkpoint's index says of its tensors: format 2, and format 1, whose pieces are rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pinisi.parallel.boxes import Box, parting_fault

FORMAT = 2
READ = (1, 2)
KINDS = ("weight", "exp_avg", "exp_avg_sq")
AVERAGE = "average"  # of the weights, where the run keeps one
NAME = re.compile(r"step-(\d{8,})$")  # of a checkpoint's folder
# What an index must hold, and what it may: checkpoints of before there were digests have no "files".
NEEDED: dict[str, type] = {"step": int, "updates": int, "tensors": dict}
OPTIONAL: dict[str, type] = {"files": dict, "sampler": dict}


class StoredPiece(NamedTuple):
    """Says where a box of a tensor stands: in which file, under which key (of the weight; see `key_of`)."""

    file: str
    key: str
    box: Box


class StoredTensor(NamedTuple):
    """Says what is stored of a tensor of the model."""

    shape: tuple[int, ...]
    pieces: tuple[StoredPiece, ...]

    def fault(self) -> str | None:
        """Returns what keeps the pieces from being the tensor, each number once; None if nothing does."""
        for piece in self.pieces:
            if not piece.box.fits(self.shape):
                return f"{piece.box} in {piece.file} doesn't lie in its shape {list(self.shape)}"
        return parting_fault(Box.whole(self.shape), (piece.box for piece in self.pieces))


def key_of(kind: str, key: str) -> str:
    """Returns the key in a file of a piece's weight or of one of its moments."""
    return key if kind == "weight" else f"{kind}/{key}"


def to_index(tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Returns the index's "tensors", as JSON has it."""
    return {
        name: {
            "shape": list(tensor.shape),
            "pieces": [
                {"file": p.file, "key": p.key, "offset": list(p.box.offset), "size": list(p.box.size)}
                for p in tensor.pieces
            ],
        }
        for name, tensor in tensors.items()
    }


def from_index(index: Mapping[str, Any]) -> dict[str, StoredTensor]:
    """Returns what an index of any format that is read says of its tensors. Raises KeyError, TypeError or ValueError where it
    is no such index."""
    pieces = _rows if index["format"] == 1 else _boxes
    return {
        name: StoredTensor(tuple(entry["shape"]), tuple(pieces(name, entry)))
        for name, entry in index["tensors"].items()
    }


def _boxes(_: str, entry: Mapping[str, Any]) -> Iterable[StoredPiece]:
    for piece in entry["pieces"]:
        offset, size = tuple(piece["offset"]), tuple(piece["size"])
        if len(offset) != len(size):
            raise ValueError(f"a piece has {len(offset)} offsets and {len(size)} sizes")
        yield StoredPiece(piece["file"], piece["key"], Box(offset, size))


def _rows(name: str, entry: Mapping[str, Any]) -> Iterable[StoredPiece]:
    shape = entry["shape"]
    for part in entry["parts"]:
        rows = range(part["start"], part["start"] + part["rows"])
        yield StoredPiece(part["file"], name, Box.rows(rows, shape) if shape else Box.whole(shape))
