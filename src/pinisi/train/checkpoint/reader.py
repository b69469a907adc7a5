"""Reads a checkpoint on disk: any box of any tensor, whatever ranks wrote it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pinisi.base import digests, json_text
from pinisi.base.errors import CheckpointError
from pinisi.parallel.boxes import Box, parting_fault
from pinisi.train.checkpoint.index import (
    NAME,
    NEEDED,
    OPTIONAL,
    READ,
    StoredPiece,
    StoredTensor,
    from_index,
    key_of,
)


class Reader:
    """Reads one checkpoint. Raises CheckpointError that names the file where its index is damaged or of another format.

    `get` makes it a source of weights (`models.stage.Weights`), so that an engine can be built from a checkpoint.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.index = _read_index(folder)
        try:
            self.tensors = from_index(self.index)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{folder / 'index.json'} is damaged: what it says of the tensors can't be read ({error!r})"
            ) from error

    @property
    def step(self) -> int:
        return self.index["step"]

    def damage(self, share: int = 0, shares: int = 1) -> str | None:
        """Reads this share of the files whole; returns what is wrong with the first that is not as it was written.

        Checkpoints of before there were digests have none, and pass.
        """
        return digests.damage(self.folder, self.index.get("files", {}), share, shares)

    def names(self) -> list[str]:
        return list(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def _tensor(self, name: str) -> StoredTensor:
        if name not in self.tensors:
            raise CheckpointError(f"{self.folder} has no tensor {name}: it belongs to another model")
        return self.tensors[name]

    def get(self, name: str, rows: range | None = None, kind: str = "weight") -> torch.Tensor:
        """Reads a tensor, or rows of it, of `kind` weight, exp_avg or exp_avg_sq."""
        shape = self._tensor(name).shape
        box = Box.whole(shape) if rows is None or not shape else Box.rows(rows, shape)
        return self.read(name, box, kind)

    def read(self, name: str, box: Box, kind: str = "weight") -> torch.Tensor:
        """Reads a box of a tensor, and only the numbers in it, of `kind` weight, exp_avg or exp_avg_sq.

        Raises CheckpointError that names the tensor where the box isn't in it, is there in part or is there twice.
        """
        tensor = self._tensor(name)
        if not box.fits(tensor.shape):
            raise CheckpointError(
                f"{self.folder}: {name} has shape {list(tensor.shape)}, {box} doesn't lie in it"
            )
        pieces = [(piece, part) for piece in tensor.pieces if (part := piece.box.overlap(box))]
        if wrong := parting_fault(box, (part for _, part in pieces)):
            raise CheckpointError(
                f"{self.folder}: {name} can't be read, since {wrong}; use another checkpoint"
            )
        if len(pieces) == 1:
            return self._read(*pieces[0], kind)
        found = None
        for piece, part in pieces:
            numbers = self._read(piece, part, kind)
            found = torch.empty(box.size, dtype=numbers.dtype) if found is None else found
            found[part.inside(box)] = numbers
        return torch.empty(box.size) if found is None else found

    def _read(self, piece: StoredPiece, part: Box, kind: str) -> torch.Tensor:
        """Reads a part of one piece."""
        path, key = self.folder / piece.file, key_of(kind, piece.key)
        try:
            with safe_open(path, framework="pt") as file:
                stored = file.get_slice(key)
                if tuple(stored.get_shape()) != piece.box.size:
                    raise CheckpointError(
                        f"{path}: {key} has shape {list(stored.get_shape())}, the index says {list(piece.box.size)}"
                    )
                return stored[part.inside(piece.box)] if part.size else file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is damaged or missing ({error}); remove {self.folder} to resume from an older checkpoint"
            ) from error


def _read_index(folder: Path) -> dict:
    """Returns a checkpoint's index. Raises CheckpointError where it is not as it was written or of a format not read here."""
    path = folder / "index.json"
    try:
        if not path.is_file():  # of a pipe nothing might ever come
            raise CheckpointError(f"{path} can't be read: there is no such file")
        index = json_text.parse(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); remove this folder to use an older one"
        ) from error
    if not isinstance(index, dict):
        raise CheckpointError(f"{path} is damaged (no JSON object)")
    # Checkpoints of before there were digests have neither of the two keys.
    if index.keys() & {"digest", "files"} and index.get("digest") != digests.of_index(index):
        raise CheckpointError(f"{path} is damaged: its digest is another one than it was written with")
    if index.get("format") not in READ:
        raise CheckpointError(
            f"{folder} has format {index.get('format')}, this version reads {' and '.join(map(str, READ))}: use the version "
            "that wrote it"
        )
    for key, kind in (NEEDED | OPTIONAL).items():
        if (key in index or key in NEEDED) and not isinstance(index.get(key), kind):
            raise CheckpointError(f"{path} is damaged: its {key} is missing or no {kind.__name__}")
    name = NAME.match(folder.name)
    if name and int(name.group(1)) != index["step"]:
        raise CheckpointError(f"{folder} is damaged: what it holds is step {index['step']}")
    return index
