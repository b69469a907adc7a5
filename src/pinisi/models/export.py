"""A model out: a Hugging Face folder that AutoModelForCausalLM loads, written whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig

from pinisi.base.errors import ModelError
from pinisi.base.made import check_ours, mark
from pinisi.models import heads
from pinisi.models.spec import ModelSpec
from pinisi.models.stage import parameter_shapes

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
)

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
    folder = Path(os.path.abspath(folder))
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
        if tokenizer_folder is not None:
            _copy_tokenizer(Path(tokenizer_folder), new)
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
    config = copy.deepcopy(spec.config)
    config.architectures = [spec.architecture.part("ForCausalLM").__name__]
    config.dtype = dtype
    config.save_pretrained(new)
    given = spec.folder / "generation_config.json" if spec.folder is not None else None
    if given is not None and given.exists():
        shutil.copyfile(given, new / given.name)
    else:
        GenerationConfig.from_model_config(config).save_pretrained(new)


def _copy_tokenizer(source: Path, new: Path) -> None:
    found = [source / name for name in TOKENIZER_FILES if (source / name).is_file()]
    if not found:
        raise ModelError(f"{source} has no tokenizer files; it needs at least tokenizer.json.")
    for path in found:
        shutil.copyfile(path, new / path.name)


def _recover(folder: Path, new: Path, old: Path) -> None:
    """Clears what a killed writer has left; between its two renames the old folder has no name."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (old, new):
        if left.exists():
            shutil.rmtree(left)


def _flush(new: Path) -> None:
    """All of it to the disk before the old folder goes; safetensors' files get the others' mode."""
    for path in [*new.iterdir(), new]:
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
