"""Knows on which weights a run's adapters stand, so that a checkpoint of adapters alone resumes and exports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pinisi.base import digests
from pinisi.base.errors import CheckpointError
from pinisi.config import RunConfig
from pinisi.models import FolderWeights, MergedWeights, ModelSpec, RandomWeights, adapters_of, with_adapters
from pinisi.models.stage import Weights
from pinisi.train.checkpoint.reader import Reader

KEY, BASE = "adapters", "base"  # in a checkpoint's index
SAMPLES, SAMPLE = 64, 4096  # places of a file that its digest reads, and bytes of each


def adapted(config: RunConfig, spec: ModelSpec) -> ModelSpec:
    """Returns the model that a run trains: with adapters where [lora] asks for them. Raises ConfigError for wrong targets."""
    lora = config.lora
    if not lora.rank:
        return spec
    return with_adapters(
        spec,
        lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=lora.targets,
        rank_stabilised=lora.rank_stabilised,
    )


def base_of(config: RunConfig, spec: ModelSpec) -> dict[str, Any]:
    """Returns what a checkpoint's index keeps of the weights that adapters stand on; nothing of a run without adapters."""
    if spec.adapters is None:
        return {}
    if config.model.source is None:
        return {BASE: {"source": None, "seed": config.run.seed, "digest": None}}
    weights = FolderWeights(spec, spec.folder or config.model.source)
    return {BASE: {"source": config.model.source, "seed": None, "digest": _digest(weights.folder)}}


def check_base(reader: Reader, base: dict[str, Any]) -> None:
    """Compares the weights under a checkpoint's adapters with a run's. Raises CheckpointError where they are others."""
    there, here = (reader.index.get(BASE) or {}), base.get(BASE) or {}
    for key in ("seed", "digest"):
        if there.get(key) != here.get(key):
            raise CheckpointError(
                f"{reader.folder} holds adapters of other weights ({_told(there)}) than those that this run starts from "
                f"({_told(here)}): use another run.folder, or the model that they were made on"
            )


def adapted_spec(reader: Reader, spec: ModelSpec) -> ModelSpec:
    """Returns the model of a checkpoint with the adapters that it holds, if it holds any."""
    found = reader.index.get(KEY)
    return spec if found is None else replace(spec, adapters=adapters_of(found))


def merged_weights(
    reader: Reader,
    spec: ModelSpec,
    dtype: torch.dtype,
    read: Callable[[str], torch.Tensor] | None = None,
) -> Weights:
    """Returns a checkpoint's weights, its adapters added to the model that they stand on. read: gives adapters by name; the
    checkpoint's own if left out.

    Raises CheckpointError where that model isn't there any more, or is another one by now.
    """
    if spec.adapters is None:
        return reader
    base = reader.index.get(BASE)
    if base is None:
        raise CheckpointError(
            f"{reader.folder} holds adapters and doesn't say of which model: it can't be merged"
        )
    plain = replace(spec, adapters=None)
    if base["source"] is None:
        return MergedWeights(spec, RandomWeights(plain, base["seed"], dtype), read or reader.get)
    weights = FolderWeights(plain, base["source"], dtype)
    if _digest(weights.folder) != base["digest"]:
        raise CheckpointError(
            f"{reader.folder} holds adapters of {base['source']}, whose weights are others than when they were trained: put the "
            "model back there"
        )
    return MergedWeights(spec, weights, read or reader.get)


def _told(base: dict[str, Any]) -> str:
    return str(base.get("source") or f"a random start of seed {base.get('seed')}")


def _digest(folder: Path) -> str:
    """Returns a digest of a model's weights that takes no time: of each file's name, its size, and its bytes at some places."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        read = hashlib.sha256()
        with path.open("rb") as file:
            for place in range(SAMPLES):
                file.seek(max(0, size - SAMPLE) * place // (SAMPLES - 1))
                read.update(file.read(SAMPLE))
        found[path.name] = [size, read.hexdigest()]
    return digests.of_value(found)
