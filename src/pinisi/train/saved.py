"""Saves what an engine has trained so that it resumes and exports, whoever built the engine: a run, or Python code of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pinisi.engine.engine import Engine
from pinisi.engine.sharded import ShardedOptimizer
from pinisi.train import checkpoint
from pinisi.train.building import CHECKPOINTS
from pinisi.train.identity import check_model, model_identity
from pinisi.train.model_files import IDS, files_of, keep_companions


def save_engine(
    engine: Engine, run: str | Path, step: int, *, tokenizer: str | Path | None = None, keep: int = 2
) -> None:
    """Writes a checkpoint of `step` into the folder `run`, from which `resume_engine` and `pinisi export` read; a collective call
    of all ranks, replicas too.

    tokenizer: its folder, which goes along into the export. keep: newest checkpoints that stay.
    """
    folder = Path(run)
    given = {key: value for key in IDS if (value := getattr(engine.spec.config, key, None)) is not None}
    files = str(tokenizer) if tokenizer else None
    if is_first(engine):
        keep_companions(folder, files, engine.spec)
    save_state(engine, folder, step, files_of(engine.spec, files, given), keep=keep)


def is_first(engine: Engine) -> bool:
    """Tells whether this is the one rank that writes what there is once: the first of the first replica."""
    return engine.rank == 0 and _saves(engine)


def _saves(engine: Engine) -> bool:
    return engine.data_group is None or dist.get_rank(engine.data_group) == 0


def save_state(
    engine: Engine, run: Path, step: int, state: Mapping[str, Any], *, keep: int, spare: int | None = None
) -> None:
    """Writes a checkpoint whose index also holds `state`, which JSON can say; a collective call of all ranks. spare: the step of
    one that stays besides the newest."""
    sharded = isinstance(engine.optimizer, ShardedOptimizer)  # then each replica saves the part that it holds
    if sharded or _saves(engine):
        found = {
            **model_identity(engine.spec),
            "updates": engine.optimizer.updates,
            "moments_since": engine.optimizer.since,
            "average": engine.optimizer.average or None,
            "dtype": str(engine.parts.dtype).removeprefix("torch."),
            **state,
        }
        checkpoint.save(
            run / CHECKPOINTS,
            step,
            engine.optimizer,
            json.loads(json.dumps(found, default=str)),
            rank=dist.get_rank() if sharded else engine.rank,
            group=dist.group.WORLD if sharded else engine.communicator.world,
            keep=keep,
            spare=spare,
        )
    if engine.data_group is not None:
        dist.barrier()


def resume_engine(engine: Engine, run: str | Path) -> int:
    """Takes over the newest whole checkpoint of the folder `run`; returns its step, 0 if there is none. A collective call.

    Raises CheckpointError if it is another model's, or none is whole.
    """
    reader, _ = checkpoint.newest_whole(Path(run) / CHECKPOINTS, group=dist.group.WORLD)
    if reader is None:
        return 0
    check_model(reader, engine.spec)
    checkpoint.restore(reader, engine.optimizer)
    return reader.step
