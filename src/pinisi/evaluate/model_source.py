"""Opens the model that is to be measured: a Hugging Face folder, a run of ours or one of its checkpoints."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pinisi.base import digests
from pinisi.base.errors import CheckpointError, ConfigError, ModelError
from pinisi.models import FolderWeights, ModelSpec, read_spec, tokenizer_files
from pinisi.models.folder import CONFIG
from pinisi.models.stage import Weights
from pinisi.train import checkpoint
from pinisi.train.adapters import merged_weights
from pinisi.train.export import DTYPES
from pinisi.train.model_files import spec_to_export

CHECKPOINTS = "checkpoints"  # in a run's folder
LONGEST = 2048  # tokens, of a model whose config names no limit


@dataclass(frozen=True)
class MeasuredModel:
    """Holds what is known of a model before its weights are read.

    digest: SHA-256 over the names and bytes of its files. longest: tokens that it was made for. dtype: the numbers that it is
    computed in. kind: "folder" or "checkpoint". reader: of a checkpoint.
    """

    path: Path
    kind: str
    spec: ModelSpec
    weights: Weights
    dtype: torch.dtype
    tokenizer: Path
    longest: int
    reader: checkpoint.Reader | None = None

    def digest(self) -> str:
        """Reads all files of the model once."""
        if self.reader is not None:
            return digests.of_value(self.reader.index)
        names = sorted([CONFIG, *(path.name for path in self.path.glob("*.safetensors"))])
        return digests.of_value({name: digests.of_file(self.path / name) for name in names})


def open_model(
    path: str | Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    tokenizer: str | Path | None = None,
) -> MeasuredModel:
    """Opens a model without reading its weights.

    step: of a run, which checkpoint; the newest whole one if None. dtype: the model's own if None. Raises ModelError,
    CheckpointError or DataError for what can't be read.
    """
    path = Path(path)
    reader = _checkpoint(path, step)
    if reader is not None:
        spec, kept = spec_to_export(reader, reader.folder.parent.parent)
        own, kind, path = reader.index.get("dtype"), "checkpoint", reader.folder
    elif (path / CONFIG).is_file():
        if step is not None:
            raise ModelError(f"{path} is a folder of one model, without steps: leave --step out")
        spec = read_spec(path)
        own, kind, kept = str(getattr(spec.config, "dtype", None)).removeprefix("torch."), "folder", path
    else:
        raise ModelError(
            f"{path} is no model: give a Hugging Face folder (with {CONFIG}), a run's folder or a checkpoint"
        )
    chosen = DTYPES[dtype or (own if own in DTYPES else "float32")]
    folder = Path(tokenizer) if tokenizer else kept
    if folder is None or not tokenizer_files(folder):
        need = "holds no tokenizer" if tokenizer else "has no tokenizer beside it"
        raise ModelError(f"{folder if tokenizer else path} {need}: give its folder with --tokenizer")
    weights = FolderWeights(spec, path, chosen) if reader is None else merged_weights(reader, spec, chosen)
    plain, longest = replace(spec, adapters=None), longest_of(spec.config)
    return MeasuredModel(path, kind, plain, weights, chosen, folder, longest, reader)


def _checkpoint(path: Path, step: int | None) -> checkpoint.Reader | None:
    """The checkpoint that a path leads to, read whole once; None where it is no run and no checkpoint."""
    if (path / CHECKPOINTS).is_dir():
        if step is None:
            reader, _ = checkpoint.newest_whole(path / CHECKPOINTS)
            if reader is None:
                raise CheckpointError(f"{path / CHECKPOINTS} holds no whole checkpoint: train first")
            return reader
        found = dict(checkpoint.steps(path / CHECKPOINTS)).get(step)
        if found is None:
            there = ", ".join(str(n) for n, _ in checkpoint.steps(path / CHECKPOINTS)) or "none"
            raise CheckpointError(f"{path} has no checkpoint of step {step}; there are: {there}")
        path = found
    elif not (path / "index.json").is_file() or (path / CONFIG).is_file():
        return None
    reader = checkpoint.Reader(path)
    if damage := reader.damage():
        raise CheckpointError(f"{damage}; use another checkpoint")
    return reader


def held_out_shards(path: str | Path) -> str:
    """The folder of held-out shards that a run, or a run's checkpoint, is evaluated on. Raises ConfigError where there is none."""
    path = Path(path)
    run = path if (path / CHECKPOINTS).is_dir() else path.parent.parent
    file = run / "config.toml"
    found = (
        tomllib.loads(file.read_text("utf-8")).get("data", {}).get("evaluation") if file.is_file() else None
    )
    if not found:
        raise ConfigError(
            f"{path} is no run with held-out shards (data.evaluation): name a folder with --shards"
        )
    return str(found)


def longest_of(config: Any) -> int:
    """How many tokens a model of this configuration was made for."""
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else LONGEST
