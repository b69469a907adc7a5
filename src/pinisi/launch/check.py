"""Checks a run for everything that can be wrong with it before any rank starts."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import torch

from pinisi.base.errors import CheckpointError, ConfigError, DataError
from pinisi.config import RunConfig
from pinisi.costs.hardware import read_hardware
from pinisi.engine.compiled import check_compiled
from pinisi.models import FolderWeights, ModelSpec, trained_parts
from pinisi.models.adapters import peft
from pinisi.schedule import Schedule, verify_once
from pinisi.train import checkpoint
from pinisi.train.adapters import base_of, check_base
from pinisi.train.boards import check_boards
from pinisi.train.building import DTYPES, check_rows, dtype_of, spec_of
from pinisi.train.identity import check_data, check_model
from pinisi.train.metrics import lacks_evaluation
from pinisi.train.model_files import tokenizer_of
from pinisi.train.phases import phases_of
from pinisi.train.planned import planned
from pinisi.train.saved import CHECKPOINTS
from pinisi.train.task import Task
from pinisi.train.tasks import task_of
from pinisi.vocabulary.kernels import kernels_for


def check_world(config: RunConfig, world: int) -> None:
    """Compares the replicas that the configuration names with those that ranks were started for; raises ConfigError."""
    ranks, replicas = config.pipeline.ranks, config.pipeline.data_parallel
    if replicas is not None and world != ranks * replicas:
        raise ConfigError(
            f"{world} ranks were started for pipeline.data_parallel = {replicas} pipelines of pipeline.ranks = {ranks}: start "
            f"{ranks * replicas}, or leave pipeline.data_parallel out to take as many as there are"
        )


def check(
    config: RunConfig, task: Task | None = None, verified: Collection[str] | None = ()
) -> list[Schedule]:
    """Raises ConfigError, DataError, ModelError or CheckpointError for what can be known to be wrong without starting a rank;
    returns each phase's table, verified.

    task: that of the configuration if left out. verified: digests of tables that need no look. None: the ranks will agree on one
    and the first verifies it.
    """
    task = task or task_of(config)
    spec = spec_of(config)
    phases = phases_of(config)
    tables = [planned(config, spec, phase)[0] for phase in phases]
    for table in tables if verified is not None else ():
        verify_once(table, verified or ())
    if config.runtime.emulate:
        raise ConfigError("runtime.emulate sleeps instead of training: use `pinisi bench emulated`")
    if config.pipeline.barriers and not torch.cuda.is_available():
        # Compiles the native ones: what is wrong with that is said here and not only in the ranks' logs.
        kernels_for(torch.empty(0, dtype=DTYPES[dtype_of(config, spec)]))
    if config.runtime.compile == "layers":
        check_compiled(spec, config.runtime.compiler)
    if spec.adapters is not None:
        peft()  # raises DataError where it isn't installed
    tokenizer = tokenizer_of(config, spec)
    check_rows(spec, tokenizer)
    task.check(spec, tokenizer)
    check_boards(config)
    if config.report.hardware is not None:
        read_hardware(config.report.hardware).rate(dtype_of(config, spec))
    if (config.checkpoint.best or config.evaluation.patience) and not task.evaluates:
        raise ConfigError(
            "checkpoint.best and evaluation.patience go by held-out loss: name held-out data (data.evaluation), or leave both out"
        )
    longest = getattr(spec.config, "max_position_embeddings", None)
    for sequence in {phase.data.sequence for phase in phases}:
        if longest is not None and sequence > longest:
            raise DataError(
                f"data.sequence is {sequence}, the model takes at most {longest} (max_position_embeddings)"
            )
    for phase in phases:
        trained_parts(spec, phase.train)
    _check_source(config, spec)
    _check_checkpoint(config, spec, task)
    return tables


def _check_source(config: RunConfig, spec: ModelSpec) -> None:
    """Looks whether the weights to start from are all there; says which are not used."""
    source = spec.folder or config.model.source
    if source is None:
        return
    weights = FolderWeights(spec, source)
    weights.check()
    if unused := weights.unused:
        shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        warnings.warn(
            f"{source} has {len(unused)} tensors that this model doesn't use: {shown}", stacklevel=2
        )


def _check_checkpoint(config: RunConfig, spec: ModelSpec, task: Task) -> None:
    """Looks whether what the run's folder holds is this run's, and whether anything is left to do."""
    folder = Path(config.run.folder) / CHECKPOINTS
    reader = checkpoint.newest_whole(folder, read=False).reader
    if reader is not None and reader.step >= config.steps:  # unless that one is damaged
        reader = checkpoint.newest_whole(folder).reader
    if reader is None:
        if config.run.start is not None:
            _check_start(checkpoint.Reader(Path(config.run.start)), spec, "run.start")
        if config.run.branch is not None:
            _check_branch(checkpoint.Reader(Path(config.run.branch)), config, spec, task)
        return
    check_model(reader, spec)
    check_base(reader, base_of(config, spec))
    check_data(reader, task.fingerprint)
    lacks_end = reader.step == config.steps and lacks_evaluation(config, reader.step, task.evaluates)
    if reader.step >= config.steps and not lacks_end:
        raise CheckpointError(
            f"{folder} already holds step {reader.step} of run.steps = {config.steps}: give more steps to go on, "
            "or another run.folder to start anew"
        )


def _check_start(reader: checkpoint.Reader, spec: ModelSpec, key: str) -> None:
    """Looks whether a checkpoint of another run is whole and holds this model."""
    if wrong := reader.damage():
        raise CheckpointError(f"{wrong}; give another {key}")
    check_model(reader, spec)


def _check_branch(reader: checkpoint.Reader, config: RunConfig, spec: ModelSpec, task: Task) -> None:
    """Looks whether a run can go on where a checkpoint of another one stands, in its data, too."""
    _check_start(reader, spec, "run.branch")
    if "sampler" not in reader.index:
        raise CheckpointError(
            f"{reader.folder} doesn't say which texts were read, so that no run can branch off: run.start takes its weights alone"
        )
    task.batches(phases_of(config)[0], 0, 1, reader.index["sampler"])  # raises DataError for others
