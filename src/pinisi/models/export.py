"""Writes a model as a Hugging Face folder that AutoModelForCausalLM loads, whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.base.made import check_ours, mark
from pinisi.models import checks, heads, quantised
from pinisi.models.folder import (
    CONFIG,
    GENERATION,
    MODEL_FILES,
    json_object,
    matching,
    tokenizer_files,
)
from pinisi.models.spec import ModelSpec
from pinisi.models.stage import parameter_shapes

# Keys that say how a config was saved, not what the model is.
_OF_SAVING = {
    "dtype",
    "torch_dtype",
    "architectures",
    "transformers_version",
    "_name_or_path",
    *quantised.KEYS,
}

WHAT = "a model"


def write_folder(
    spec: ModelSpec,
    tensors: Iterable[tuple[str, Tensor]],
    folder: str | os.PathLike[str],
    tokenizer_folder: str | os.PathLike[str] | None = None,
    *,
    extra_heads: Iterable[tuple[str, Tensor]] = (),
    max_shard_bytes: int = 4 * 2**30,
) -> Path:
    """Writes safetensors, config.json, generation_config.json and the tokenizer's files.

    Of a model that was read from a folder, what training doesn't change comes out as it went in: generation_config.json byte for
    byte (none if there was none), config.json with its own keys and values but for the weights' dtype.
    Everything goes to a temporary sibling first, which then takes the folder's name; if anything fails
    before that, the old folder is as it was; what a killed writer left is mended by the next call.
    One process writes a folder at a time. One shard's tensors are held in memory at a time.

    Args:
        tensors: (Hugging Face name, tensor), each of the model's parameters once, in any order, of one dtype.
        tokenizer_folder: where the tokenizer's files are copied from.
        extra_heads: (name, tensor) of extra heads, which go to a file of their own that transformers doesn't read.
        max_shard_bytes: largest size of one file, in bytes; a larger tensor has a file of its own.

    Raises:
        ModelError: a parameter is missing, unknown, doubled or of the wrong shape, or the disk is full.
    """
    folder = Path(os.path.realpath(folder))  # a link stays, and leads to what is written
    new, old = (folder.parent / f".{folder.name}.{which}" for which in ("new", "old"))
    try:
        _recover(folder, new, old)
        check_ours(folder, WHAT, "--out")
        new.mkdir(parents=True)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error}.") from None
    try:
        dtype = _write_tensors(spec, tensors, new, max_shard_bytes)
        if beside := {name: tensor.detach().to("cpu").contiguous() for name, tensor in extra_heads}:
            save_file(beside, new / heads.FILE, metadata={"format": "pt"})
        _write_configs(spec, dtype, new)
        model_folder = spec.published.folder if spec.published is not None else None
        copy_companions(Path(tokenizer_folder) if tokenizer_folder is not None else None, model_folder, new)
        mark(new, WHAT)
        _flush(new)
        _take_place(new, folder, old)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder} could not be written: {error}; what was there before is untouched. "
            f"Make room and write again."
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _write_tensors(
    spec: ModelSpec, tensors: Iterable[tuple[str, Tensor]], new: Path, limit: int
) -> torch.dtype:
    """Writes the shards and their index; returns the tensors' dtype."""
    files: list[list[str]] = []
    sizes = 0
    dtypes: set[torch.dtype] = set()
    for shard in _shards(_checked(spec, tensors), limit):
        save_file(shard, new / f"part-{len(files)}", metadata={"format": "pt"})
        files.append(list(shard))
        sizes += sum(tensor.nbytes for tensor in shard.values())
        dtypes |= {tensor.dtype for tensor in shard.values()}
    if len(dtypes) != 1:
        raise ModelError(f"the tensors have several dtypes, {sorted(map(str, dtypes))}; give all in one.")
    _name_files(new, files, sizes)
    return dtypes.pop()


def _name_files(new: Path, files: list[list[str]], sizes: int) -> None:
    """The files' names say how many there are, so they are given last."""
    if len(files) == 1:
        (new / "part-0").rename(new / "model.safetensors")
        return
    weight_map = {}
    for i, names in enumerate(files):
        file = f"model-{i + 1:05d}-of-{len(files):05d}.safetensors"
        (new / f"part-{i}").rename(new / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": sizes}, "weight_map": dict(sorted(weight_map.items()))}
    (new / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _checked(spec: ModelSpec, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    left = parameter_shapes(spec)
    done: set[str] = set()
    for name, tensor in tensors:
        if name in done:
            raise ModelError(f"{name} was given twice.")
        if name not in left:
            raise ModelError(f"{name} is not a parameter of this {spec.model_type} model.")
        if tensor.shape != left[name]:
            raise ModelError(f"{name} has shape {list(tensor.shape)}; this model needs {list(left[name])}.")
        done.add(name)
        del left[name]
        yield name, tensor.detach().to("cpu").contiguous()
    if left:
        raise ModelError(f"{len(left)} parameters are missing, the first is {next(iter(left))}.")


def _shards(tensors: Iterator[tuple[str, Tensor]], limit: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if shard and sum(t.nbytes for t in shard.values()) + tensor.nbytes > limit:
            yield shard
            shard = {}
        shard[name] = tensor
    if shard:
        yield shard


def _write_configs(spec: ModelSpec, dtype: torch.dtype, new: Path) -> None:
    name = str(dtype).removeprefix("torch.")
    ours = spec.architecture.part("ForCausalLM").__name__
    if spec.published is None:
        _write_json(new / CONFIG, _new_config(spec, name, ours))
        _write_json(new / GENERATION, _new_generation(spec))
        return
    given = json_object(spec.published.config, CONFIG)
    config = _as_published(spec, given, name, ours)
    if config == given:
        (new / CONFIG).write_bytes(spec.published.config.encode())
    else:
        _write_json(new / CONFIG, config)
    if spec.published.generation is not None:
        (new / GENERATION).write_bytes(spec.published.generation.encode())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _new_config(spec: ModelSpec, dtype: str, ours: str) -> dict[str, Any]:
    """All that transformers would write, without what belongs into generation_config.json."""
    config = copy.deepcopy(spec.config)
    config.architectures = [ours]
    config.dtype = dtype
    values = json.loads(config.to_json_string(use_diff=True))
    leave = (checks.generation_keys() - set(checks.declared(type(config)))) | set(quantised.KEYS)
    ids = {key for key in values if key.endswith("_token_id")}
    return {key: value for key, value in values.items() if key in ids or key not in leave} | dict(
        spec.token_ids
    )


def _new_generation(spec: ModelSpec) -> dict[str, Any]:
    ids = {key: getattr(spec.config, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    values = {key: value for key, value in ids.items() if value is not None} | dict(spec.generation)
    return {**values, "transformers_version": transformers.__version__}


def _as_published(spec: ModelSpec, given: dict[str, Any], dtype: str, ours: str) -> dict[str, Any]:
    """The published config.json with what is different now: the dtype, what the caller changed in spec.config, and nothing of
    a quantisation or of code that the new folder doesn't have."""
    values = {key: value for key, value in given.items() if key not in quantised.KEYS and key != "auto_map"}
    before = spec.architecture.config_class.from_dict(copy.deepcopy(given)).to_dict()
    for key, value in spec.config.to_dict().items():
        if key not in _OF_SAVING and before.get(key) != value:
            values[key] = value
            if key == "rope_parameters":  # older names of the same
                for old in ("rope_scaling", "rope_theta"):
                    values.pop(old, None)
    names = [key for key in ("dtype", "torch_dtype") if key in given]
    if names or dtype != "float32":  # which transformers takes where nothing is said
        values |= dict.fromkeys(names or ["dtype"], dtype)
    if ours not in (values.get("architectures") or ()):
        values["architectures"] = [ours]
    return values


def copy_companions(
    tokenizer_folder: Path | None, model_folder: Path | None, new: Path, *, replace: bool = False
) -> None:
    """Copies the tokenizer's files, byte for byte, and the model's licences and list of new layers, to where they aren't yet.
    Raises ModelError for a tokenizer's folder without any."""
    pairs = []
    if tokenizer_folder is not None:
        found = tokenizer_files(tokenizer_folder)
        if not found:
            raise ModelError(f"{tokenizer_folder} has no tokenizer files; it needs at least tokenizer.json.")
        pairs += [(path, path.relative_to(tokenizer_folder)) for path in found]
    if model_folder is not None:
        pairs += [(path, Path(path.name)) for path in matching(model_folder, MODEL_FILES)]
    for path, name in pairs:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        if replace or not (new / name).exists():
            shutil.copyfile(path, new / name)


def _recover(folder: Path, new: Path, old: Path) -> None:
    """Clears what a killed writer has left; between its two renames the old folder has no name."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (old, new):
        if left.exists():
            shutil.rmtree(left)


def _flush(new: Path) -> None:
    """All of it to the disk before the old folder goes; safetensors' files get the others' mode."""
    for path in [*new.rglob("*"), new]:
        if path.is_file():
            shutil.copymode(new / "config.json", path)
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_place(new: Path, folder: Path, old: Path) -> None:
    """A folder cannot be renamed over another that holds files, so the old one steps aside first."""
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
