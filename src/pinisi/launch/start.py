"""`pinisi train`: looks at everything that can be wrong before any rank starts, then starts or joins the ranks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from pinisi.base.errors import CheckpointError, ConfigError, DataError
from pinisi.base.lock import only_one
from pinisi.config import RunConfig, load
from pinisi.data import Shards as TokenShards
from pinisi.data import check_shards
from pinisi.launch.supervisor import launch, rank_main
from pinisi.models import FolderWeights
from pinisi.parallel.place import joined, place
from pinisi.parallel.watchdog import STATUS, watched
from pinisi.schedule import Schedule, verify_once
from pinisi.train import checkpoint
from pinisi.train.identity import check_identity
from pinisi.train.metrics import evaluated
from pinisi.train.model_files import tokenizer_of
from pinisi.train.planned import planned
from pinisi.train.tables import leave_tables
from pinisi.train.trainer import DTYPES, check_rows, spec_of, train_watched
from pinisi.vocabulary.kernels import kernels_for

LOCK = "lock"  # in run.folder: one run at a time


def start(path: str, overrides: Sequence[str], arguments: Sequence[str]) -> int:
    """The whole of `pinisi train`; `arguments` is the command line that the ranks are started with."""
    if joined():
        return rank_main(lambda: _join(load(path, list(overrides))))
    config = load(path, list(overrides))
    table = check(config)
    folder = Path(config.run.folder)
    with only_one(folder, folder / LOCK, "run.folder"):
        return launch(
            arguments,
            config.schedule.ranks * (config.schedule.replicas or 1),
            folder,
            port=config.runtime.port,
            threads=config.runtime.threads,
            environment=leave_tables([table], folder),
            stuck_after=config.runtime.stuck_after,
        )


def _join(config: RunConfig) -> int:
    """The work of a rank that is there already, watched from here on. Where no launcher of ours has started it, rank 0 holds the
    run's lock."""
    rank, world = place()
    folder = Path(config.run.folder)
    lock = nullcontext() if STATUS in os.environ or rank else only_one(folder, folder / LOCK, "run.folder")
    with lock, watched(folder, rank, world, config.runtime.stuck_after) as status:
        _look_at(config, world)
        return train_watched(config, status)


def _look_at(config: RunConfig, world: int) -> None:
    """Checks the configuration where no launcher of ours has done so before it started this rank."""
    if STATUS not in os.environ:
        check(config, verified=None)
        check_world(config, world)


def check_world(config: RunConfig, world: int) -> None:
    """Replicas that the configuration names must be those that ranks were started for; raises ConfigError."""
    ranks, replicas = config.schedule.ranks, config.schedule.replicas
    if replicas is not None and world != ranks * replicas:
        raise ConfigError(
            f"{world} ranks were started for schedule.replicas = {replicas} pipelines of schedule.ranks = {ranks}: start "
            f"{ranks * replicas}, or leave schedule.replicas out to take as many as there are"
        )


def check(config: RunConfig, verified: Collection[str] | None = ()) -> Schedule:
    """Looks at everything that can be known to be wrong without starting a rank; returns the table, verified.

    verified: digests of tables that need no look. None: the ranks will agree on one and the first verifies it.
    """
    spec = spec_of(config)
    table = planned(config, spec)[0]
    if verified is not None:
        verify_once(table, verified)
    if config.runtime.emulate:
        raise ConfigError("runtime.emulate sleeps instead of training: use `pinisi bench emulated`")
    if config.schedule.barriers and not torch.cuda.is_available():
        # Compiles the native ones: what is wrong with that is said here and not only in the ranks' logs.
        kernels_for(torch.empty(0, dtype=DTYPES[config.model.dtype]))
    tokenizer = tokenizer_of(config, spec)
    check_rows(spec, tokenizer)
    shards = TokenShards(config.data.shards)
    held_out = [TokenShards(config.data.evaluation)] if config.data.evaluation else []
    check_shards([shards, *held_out], spec.vocabulary, tokenizer)
    longest = getattr(spec.config, "max_position_embeddings", None)
    if longest is not None and config.data.sequence > longest:
        raise DataError(
            f"data.sequence is {config.data.sequence}, the model takes at most {longest} (max_position_embeddings)"
        )
    source = spec.folder or config.model.source
    if source is not None:
        weights = FolderWeights(spec, source)
        weights.check()
        if unused := weights.unused:
            shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
            warnings.warn(
                f"{source} has {len(unused)} tensors that this model doesn't use: {shown}", stacklevel=2
            )
    folder = Path(config.run.folder) / "checkpoints"
    reader = checkpoint.newest_whole(folder, read=False).reader
    if reader is not None and reader.step >= config.run.steps:  # unless that one is damaged
        reader = checkpoint.newest_whole(folder).reader
    if reader is not None:
        check_identity(reader, spec, shards)
        lacks_end = reader.step == config.run.steps and not evaluated(config, reader.step)
        if reader.step >= config.run.steps and not lacks_end:
            raise CheckpointError(
                f"{folder} already holds step {reader.step} of run.steps = {config.run.steps}: give more steps to go on, "
                "or another run.folder to start anew"
            )
    return table
