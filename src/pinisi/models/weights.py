"""Where a stage's parameters come from: drawn from a seed, or read from a folder of safetensors."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models import heads
from pinisi.models.spec import ModelSpec
from pinisi.models.stage import parameter_shapes

BLOCK_ROWS = 1024  # rows drawn at once; changing it changes every random start


class RandomWeights:
    """A random start that depends on (seed, parameter name, block of rows) only.

    So it is the same for any number of ranks and any split of the rows, and asking for some rows draws no
    more than the blocks they stand in. Values follow transformers' own initialisation: normal with the
    config's initializer_range, zero biases, zero padding row of the embedding, norms at their neutral value.
    """

    def __init__(self, spec: ModelSpec, seed: int, dtype: torch.dtype = torch.float32):
        self.spec, self.seed, self.dtype = spec, seed, dtype
        self.std = getattr(spec.config, "initializer_range", None) or 0.02  # transformers' own default
        self._shapes = parameter_shapes(spec)

    def names(self) -> list[str]:
        return list(self._shapes)

    def get(self, name: str, rows: range | None = None) -> Tensor:
        """The parameter, or its rows [rows.start, rows.stop), in the dtype of these weights, on the CPU."""
        name, shape = _known(self.spec, self._shapes, name)
        rows = _checked_rows(name, rows, shape)
        if len(shape) == 1:
            return torch.full((len(rows),), self._constant(name), dtype=self.dtype)
        found = torch.empty(len(rows), *shape[1:], dtype=self.dtype)
        for block in sorted({row // BLOCK_ROWS for row in (*rows[::BLOCK_ROWS], *rows[-1:])}):
            first = block * BLOCK_ROWS
            drawn = self._block(name, block, (min(BLOCK_ROWS, shape[0] - first), *shape[1:]))
            start, stop = max(rows.start, first), min(rows.stop, first + len(drawn))
            found[start - rows.start : stop - rows.start] = drawn[start - first : stop - first]
        padding = self.spec.padding_index
        if name == self.spec.architecture.embedding_name and padding is not None and padding in rows:
            found[padding - rows.start] = 0
        return found

    def _constant(self, name: str) -> float:
        return 0.0 if name.endswith(".bias") else self.spec.architecture.norm_start

    def _block(self, name: str, block: int, shape: tuple[int, ...]) -> Tensor:
        digest = hashlib.sha256(f"{self.seed}\0{name}\0{block}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
        return torch.randn(shape, generator=generator, dtype=torch.float32).mul_(self.std)


class FolderWeights:
    """Reads single tensors, or rows of them, from a folder's safetensors files (one file, or several with an
    index).

    Never reads pickle. With tied embeddings either of the two names gives the one matrix. An extra head that the
    folder lacks starts as a copy of the model's last layer, so that it predicts the next token at first.

    Raises:
        ModelError: names the file and the tensor that is missing, torn or of the wrong shape.
    """

    def __init__(self, spec: ModelSpec, folder: str | os.PathLike[str], dtype: torch.dtype = torch.float32):
        self.spec, self.dtype = spec, dtype
        self.folder = _local_folder(folder)
        self._shapes = parameter_shapes(spec)
        self._file_of = _file_of(self.folder)
        self._open: dict[str, Any] = {}

    def names(self) -> list[str]:
        """The names of this model's parameters that the folder has."""
        return [name for name in self._shapes if self._stored_names(name)]

    def get(self, name: str, rows: range | None = None) -> Tensor:
        """The parameter, or its rows [rows.start, rows.stop), in the dtype of these weights, on the CPU."""
        name, shape = _known(self.spec, self._shapes, name)
        rows = _checked_rows(name, rows, shape)
        if heads.is_extra_head(name) and name not in self._file_of:
            # what is read twice from a file is one piece of memory, and two layers must not be
            return self.get(heads.twin(self.spec, name), rows).clone()
        stored = self._stored_names(name)
        if not stored:
            raise ModelError(
                f"{self.folder} has no tensor {name}; this {self.spec.model_type} model needs it."
            )
        found = self._read(stored[0], rows, shape)
        if any(not torch.equal(found, self._read(twin, rows, shape)) for twin in stored[1:]):
            raise ModelError(
                f"{self.folder} has different values in {' and '.join(stored)}, but its config ties them; "
                f"set tie_word_embeddings to false."
            )
        return found.to(self.dtype)

    def _read(self, stored: str, rows: range, shape: torch.Size) -> Tensor:
        path = self._file_of[stored]
        try:
            piece = self._file(path).get_slice(stored)
            found_shape = list(piece.get_shape())
            tensor = piece[rows.start : rows.stop] if found_shape == list(shape) else None
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(f"tensor {stored} cannot be read from {path}: {error}.") from None
        if tensor is None:
            raise ModelError(
                f"tensor {stored} in {path} has shape {found_shape}; the config says {list(shape)}."
            )
        return tensor

    def _stored_names(self, name: str) -> list[str]:
        """Under which names the folder has this parameter; two where it has a tied matrix twice."""
        parts = self.spec.architecture
        tied = self.spec.tied and name == parts.embedding_name
        twins = (name, parts.head_name) if tied else (name,)
        found = (next((n for n in _spellings(twin) if n in self._file_of), None) for twin in twins)
        return [n for n in found if n is not None]

    def _file(self, path: Path) -> Any:
        if str(path) not in self._open:
            self._open[str(path)] = _open_file(path)
        return self._open[str(path)]


def _spellings(name: str) -> tuple[str, ...]:
    """The names under which published checkpoints keep the same tensor: as it is, saved from the model
    without its head, and from the text half of a model that also sees images (two ways)."""
    return (
        name,
        name.removeprefix("model."),
        f"language_model.{name}",
        name.replace("model.", "model.language_model.", 1),
    )


def _known(spec: ModelSpec, shapes: dict[str, torch.Size], name: str) -> tuple[str, torch.Size]:
    """The name itself, or, of a tied head, the embedding's; and its shape."""
    role = heads.twin(spec, name) if heads.is_extra_head(name) else name
    if spec.tied and name == spec.architecture.head_name:
        role = name = spec.architecture.embedding_name
    if role not in shapes:
        raise ModelError(
            f"{name} is not a parameter of this {spec.model_type} model with {spec.layers} layers."
        )
    return name, shapes[role]


def _checked_rows(name: str, rows: range | None, shape: torch.Size) -> range:
    if rows is None:
        return range(shape[0])
    if rows.step != 1 or not 0 <= rows.start <= rows.stop <= shape[0]:
        raise ModelError(f"{name} has {shape[0]} rows; {rows} are not consecutive rows of it.")
    return rows


def _open_file(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing although the index names it; fetch the model again.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is truncated or is not a safetensors file ({error}); fetch it again."
        ) from None


def _file_of(folder: Path) -> dict[str, Path]:
    """Which file holds which tensor."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    extra = folder / heads.FILE
    beside = dict.fromkeys(_open_file(extra).keys(), extra) if extra.exists() else {}
    if index.exists():
        return _read_index(index) | beside
    if single.exists():
        return dict.fromkeys(_open_file(single).keys(), single) | beside
    raise ModelError(
        f"{folder} has neither model.safetensors nor model.safetensors.index.json; "
        f"pickled weights are not read."
    )


def _read_index(index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {name: index.parent / file for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not a safetensors index: {error!r}.") from None
    for name, path in files.items():
        if not path.exists():
            raise ModelError(
                f"{index} says that {name} is in {path.name}, which is missing; fetch the model again."
            )
    return files


def _local_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder itself, or, for a hub id, where huggingface_hub keeps its safetensors files."""
    path = Path(folder)
    if path.is_dir():
        return path
    if path.is_absolute() or str(folder).startswith((".", "~")) or len(path.parts) != 2:
        raise ModelError(f"{folder} is not a folder; give a folder with safetensors files or a hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(str(folder), allow_patterns=["*.safetensors", "*.json", "*.model", "*.txt"])
        )
    except Exception as error:  # many kinds: network, unknown name, gated model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the weights of {str(folder)!r} could not be fetched from the hub ({reason})."
        ) from None
