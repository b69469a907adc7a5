"""Builds what a rank trains with, from a configuration: the model's spec, its first weights, engines."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pinisi.base.errors import ConfigError, DataError
from pinisi.config import OptimizerSection, RunConfig
from pinisi.data import load_tokenizer
from pinisi.data.control_tokens import control_tokens
from pinisi.engine.settings import OptimizerSettings
from pinisi.models import AdaptedWeights, FolderWeights, ModelSpec, RandomWeights, read_spec, with_extra_heads
from pinisi.models.stage import Weights
from pinisi.models.stored import stored_dtype
from pinisi.parallel.place import local_place
from pinisi.train import checkpoint
from pinisi.train.adapters import adapted
from pinisi.train.dtype_speed import advice

CHECKPOINTS = "checkpoints"  # in run.folder
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def spec_of(config: RunConfig) -> ModelSpec:
    """Reads what the run's model is, with its extra heads and adapters."""
    source = config.model.source if config.model.source is not None else config.model.config
    assert source is not None
    spec = read_spec(source, attention=config.model.attention, strict=True)
    return adapted(config, with_extra_heads(spec, config.loss.extra_heads))


def dtype_of(config: RunConfig, spec: ModelSpec) -> str:
    """Returns the dtype of weights and activations: model.dtype, else that of the checkpoint to resume, else the source's own."""
    if config.model.dtype is not None:
        return config.model.dtype
    reader = checkpoint.newest_whole(Path(config.run.folder) / CHECKPOINTS, read=False).reader
    return reader.index["dtype"] if reader is not None and "dtype" in reader.index else stored_dtype(spec)


def with_dtype(config: RunConfig, *, say: bool) -> RunConfig:
    """Sets model.dtype where it isn't. say: print what it is, and how to change it."""
    if config.model.dtype is not None:
        return config
    dtype: Any = dtype_of(config, spec_of(config))
    if say:
        beside = ", beside float32 master weights" if dtype == "bfloat16" else ""
        print(f"trains in {dtype}{beside}; model.dtype sets another{advice(DTYPES[dtype])}", flush=True)
    return replace(config, model=replace(config.model, dtype=dtype))


def first_weights(config: RunConfig, spec: ModelSpec, dtype: torch.dtype) -> Weights:
    """Returns the weights that a run starts from which resumes nothing: model.source, a folder or a hub id, or else a random
    start."""
    found: Weights = RandomWeights(spec, config.run.seed, dtype)
    if config.model.source is not None:
        found = FolderWeights(spec, spec.folder or config.model.source, dtype)
    return found if spec.adapters is None else AdaptedWeights(spec, found, config.run.seed, dtype)


def frozen_spec(config: RunConfig, source: str | None) -> ModelSpec:
    """Reads what a model is that a task reads and doesn't train: of a folder, or that the run starts from, without extra heads."""
    if source is not None:
        return read_spec(source, attention=config.model.attention, strict=True)
    own = config.model.source if config.model.source is not None else config.model.config
    assert own is not None
    return read_spec(own, attention=config.model.attention, strict=True)


def frozen_weights(config: RunConfig, spec: ModelSpec, source: str | None, dtype: torch.dtype) -> Weights:
    """Returns the weights of such a model."""
    if source is not None:
        return FolderWeights(spec, spec.folder or source, dtype)
    if (begun := config.run.start or config.run.branch) is not None:
        return checkpoint.Reader(Path(begun))
    return first_weights(config, spec, dtype)


def optimizer_settings(section: OptimizerSection) -> OptimizerSettings:
    """Returns what an engine's optimizer is told, but for the rates."""
    return OptimizerSettings(
        betas=(section.betas[0], section.betas[1]),
        eps=section.eps,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        sharded=section.sharded,
        moments=torch.bfloat16 if section.moments == "bfloat16" else None,
        average=section.average,
    )


def check_rows(spec: ModelSpec, tokenizer: str | None) -> None:
    """Checks that the tokenizer's ids have rows in the model, but for control tokens, which no text becomes (Gemma 3 has one
    of images beyond its rows). Raises DataError naming both numbers, or a folder without one."""
    if tokenizer is None:
        return
    loaded = load_tokenizer(tokenizer)
    controls = control_tokens(loaded)
    size = max((id for id in loaded.get_vocab().values() if id not in controls), default=-1) + 1
    if size > spec.vocabulary:
        raise DataError(
            f"the tokenizer in {tokenizer} has {size} entries, the model {spec.vocabulary} rows (vocab_size): "
            f"make the model's vocab_size at least {size}"
        )


def device_here() -> torch.device:
    """Returns this process' device: its GPU by the rank on this machine, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = local_place() if "RANK" in os.environ else 0
    if local >= torch.cuda.device_count():
        unnamed = "" if "LOCAL_RANK" in os.environ else "set LOCAL_RANK to the rank on its machine, "
        raise ConfigError(
            f"rank {local} of this machine has no GPU: there are {torch.cuda.device_count()}. Start a rank per GPU "
            f"(pipeline.ranks), {unnamed}or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device
