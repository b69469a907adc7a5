"""Gives a stage its parameters: drawn from a seed, or read from a folder of safetensors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models import heads, quantised
from pinisi.models.folder import SMALL_FILES, file_of, local_folder, open_file
from pinisi.models.spec import ModelSpec
from pinisi.models.stage import parameter_shapes

_BUFFERS = ("rotary_emb.inv_freq",)  # computed anew; old folders have them
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

    Never reads pickle; float8 weights are read as the values that they and their scales stand for. With tied embeddings
    either of the two names gives the one matrix. An extra head that the folder lacks starts as a copy of the model's last
    layer, so that it predicts the next token at first. `unused`: names in the folder that the model has no use for.

    Raises:
        ModelError: names the file and the tensor that is missing, torn, of the wrong shape, quantised in a way that isn't read,
            or of a layer of this model although its config has no such tensor.
    """

    def __init__(self, spec: ModelSpec, folder: str | os.PathLike[str], dtype: torch.dtype = torch.float32):
        self.spec, self.dtype = spec, dtype
        self.folder = local_folder(folder, ("*.safetensors", *SMALL_FILES), "safetensors files")
        self._shapes = parameter_shapes(spec)
        self._file_of = file_of(self.folder)
        self._open: dict[str, Any] = {}
        self._block = quantised.block_of(spec.config)
        quantised.check_names(self._file_of, self.folder)
        self.unused = self._unused()

    def names(self) -> list[str]:
        """The names of this model's parameters that the folder has."""
        return [name for name in self._shapes if self._stored_names(name)]

    def check(self) -> None:
        """Looks at every tensor of the model without reading it. Raises ModelError for one that is missing or that `get` would
        refuse for how it is stored."""
        missing = [name for name in self._shapes if not self._stored_names(name)]
        if missing:
            raise ModelError(
                f"{self.folder} lacks {len(missing)} tensors of this model, the first is {missing[0]}."
            )
        for name, shape in self._shapes.items():
            for stored in self._stored_names(name):
                self._piece(stored, shape)

    def stored_dtype(self, name: str) -> str:
        """How a parameter's numbers are stored, in safetensors' word: F64, F32, F16, BF16, or a float8."""
        name, shape = _known(self.spec, self._shapes, name)
        return self._piece(self._stored_names(name)[0], shape)[1]

    def _unused(self) -> list[str]:
        """Names of tensors that the folder has and the model doesn't use. Raises ModelError if its own layers have some."""
        used = {stored for name in self._shapes for stored in self._stored_names(name)}
        names = [name for name in self._file_of if name not in used and not self._is_head(name)]
        unused = [
            name
            for name in names
            if not quantised.goes_with(name, self._file_of) and not name.endswith(_BUFFERS)
        ]
        wrong = [name for name in unused if self._is_of_model(name)]
        quantised.check_layers(wrong, self.folder)
        if wrong:
            raise ModelError(
                f"{self.folder} has {len(wrong)} tensors in places of this {self.spec.model_type} model where its config has none, "
                f"the first is {wrong[0]}: config.json is of another model, or lacks a setting (such as attention_bias)."
            )
        return unused

    def _is_head(self, name: str) -> bool:
        """Whether it is of an extra head that the spec has."""
        number = name.removeprefix(heads.PREFIX).partition(".")[0]
        return heads.is_extra_head(name) and number.isdecimal() and int(number) < self.spec.extra_heads

    def _is_of_model(self, stored: str) -> bool:
        parts = self.spec.architecture
        for name in _in_full(stored):
            if name in self._shapes:
                return False  # the same tensor once more, under another name
            if name.startswith(f"{parts.layers_name}."):
                number = name.removeprefix(f"{parts.layers_name}.").partition(".")[0]
                return number.isdecimal() and int(number) < self.spec.layers
            if name.startswith(("model.embed_tokens.", "model.norm.", "lm_head.")):
                return True
        return False

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
        piece, dtype = self._piece(stored, shape)
        found = self._guarded(stored, lambda: piece[rows.start : rows.stop])
        if dtype in quantised.PLAIN:
            return found
        scale = quantised.scale_of(stored, self._file_of)
        assert scale is not None, "checked before"
        scales = self._guarded(scale, lambda: self._file(self._file_of[scale]).get_tensor(scale))
        return quantised.dequantised(found, scales, rows, shape, self._block)

    def _piece(self, stored: str, shape: torch.Size) -> tuple[Any, str]:
        """A tensor that isn't read yet, of the right shape and a dtype that can be read; and that dtype."""
        path = self._file_of[stored]
        piece = self._guarded(stored, lambda: self._file(path).get_slice(stored))
        found = list(piece.get_shape())
        quantised.check_dtype(stored, piece.get_dtype(), self._file_of, path)
        if found != list(shape):
            raise ModelError(f"tensor {stored} in {path} has shape {found}; the config says {list(shape)}.")
        if piece.get_dtype() in quantised.FLOAT8 and (scale := quantised.scale_of(stored, self._file_of)):
            scales = self._guarded(scale, lambda: self._file(self._file_of[scale]).get_slice(scale))
            quantised.check_dtype(scale, scales.get_dtype(), (), self._file_of[scale], scales=True)
            quantised.check_scales(stored, tuple(scales.get_shape()), shape, self._block)
        return piece, piece.get_dtype()

    def _guarded(self, stored: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ModelError:
            raise
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(
                f"tensor {stored} cannot be read from {self._file_of[stored]}: {error}."
            ) from None

    def _stored_names(self, name: str) -> list[str]:
        """Under which names the folder has this parameter; two where it has a tied matrix twice."""
        parts = self.spec.architecture
        tied = self.spec.tied and name == parts.embedding_name
        twins = (name, parts.head_name) if tied else (name,)
        found = (next((n for n in _spellings(twin) if n in self._file_of), None) for twin in twins)
        return [n for n in found if n is not None]

    def _file(self, path: Path) -> Any:
        if str(path) not in self._open:
            self._open[str(path)] = open_file(path)
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


def _in_full(stored: str) -> tuple[str, ...]:
    """The other way: what a tensor under one of those names may be called in the model."""
    return (
        stored,
        f"model.{stored}",
        stored.removeprefix("language_model."),
        stored.replace("model.language_model.", "model.", 1),
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
