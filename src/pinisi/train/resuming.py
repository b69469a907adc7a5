"""Saves where a run stands, and brings a run back there: after a kill, from another run's checkpoint, or behind a spike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from pinisi.base.errors import CheckpointError
from pinisi.base.progress import say
from pinisi.train import checkpoint
from pinisi.train.adapters import check_base
from pinisi.train.identity import check_data, check_model
from pinisi.train.phases import phase_saved, rate_jump, rates
from pinisi.train.saved import CHECKPOINTS, save_state
from pinisi.train.spikes import Rewind

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer


def save(trainer: Trainer) -> None:
    """Writes a checkpoint of the run as it stands, unless there is one of this step; a collective call."""
    if trainer.saved == trainer.step:
        return
    trainer.status.phase("saving a checkpoint")
    state = {
        **trainer.model_files,
        "data": trainer.task.fingerprint,
        "bad_steps": trainer.bad_steps,
        "rates": rates(trainer.phases),
        "sampler": trainer.batches.state(),
        "phase": trainer.phase.number,
        "spikes": trainer.spikes.state(),
    }
    save_state(
        trainer.engine,
        trainer.folder,
        trainer.step,
        state,
        keep=trainer.config.checkpoint.keep,
        spare=trainer.best.spared,
    )
    trainer.saved = trainer.step


def resume(trainer: Trainer) -> None:
    """Goes on from the newest whole checkpoint of the run's folder, or begins the run; a collective call."""
    folder = trainer.folder / CHECKPOINTS
    trainer.status.phase(f"reading {folder}")
    reader, passed_over = checkpoint.newest_whole(folder, group=dist.group.WORLD)
    for wrong in passed_over if trainer.leader else []:
        say(f"passed over: {wrong}")
    if reader is None:
        _begin(trainer)
        return
    check_model(reader, trainer.spec)
    check_base(reader, trainer.model_files)
    check_data(reader, trainer.task.fingerprint)
    if reader.step > trainer.config.steps:
        raise CheckpointError(
            f"{reader.folder} is past the end of this run (run.steps = {trainer.config.steps}): give more steps or another "
            "run.folder"
        )
    trainer.step = trainer.saved = reader.step
    trainer.bad_steps = reader.index.get("bad_steps", 0)
    trainer.spikes.restore(reader.index.get("spikes"))
    _resume_batches(trainer, reader)
    checkpoint.restore(
        reader, trainer.engine.optimizer
    )  # last: another phase may begin with moments of its own
    if trainer.leader:
        print(f"resumed from {reader.folder} (step {trainer.step} of {trainer.config.steps})", flush=True)
        if jump := rate_jump(reader.index.get("rates"), trainer.phases, trainer.step):
            print(jump, flush=True)


def rewind(trainer: Trainer, why: str) -> None:
    """Goes back to the newest whole checkpoint, and on from there with the text behind a spike; a collective call.

    A checkpoint with that place in the text takes the other's place at once, so that a run that is killed afterwards goes on alike.
    """
    folder = trainer.folder / CHECKPOINTS
    trainer.status.phase(f"going back to the newest checkpoint in {folder}")
    reader, _ = checkpoint.newest_whole(folder, group=dist.group.WORLD)
    if reader is None:
        raise CheckpointError(f"{folder} holds no checkpoint to go back to")
    trainer.engine.skip()
    event = Rewind(step=trainer.step + 1, back_to=reader.step, why=why)
    seen = trainer.batches.state()
    trainer.step, trainer.bad_steps = reader.step, reader.index.get("bad_steps", 0)
    trainer.enter(trainer.phases[reader.index.get("phase", 0)], seen)
    checkpoint.restore(reader, trainer.engine.optimizer)
    trainer.spikes.rewound(event, reader.index.get("spikes"))
    trainer.saved = None
    save(trainer)
    trainer.begin_records()
    if trainer.leader:
        say(event.told())


def _begin(trainer: Trainer) -> None:
    """Takes what the run is to start from, if it names a checkpoint of another one: its weights, or all of it."""
    run = trainer.config.run
    if run.start is not None:
        checkpoint.start_from(checkpoint.Reader(Path(run.start)), trainer.engine.optimizer)
    if run.branch is not None:
        reader = checkpoint.Reader(Path(run.branch))
        trainer.enter(trainer.phases[0], reader.index["sampler"])
        checkpoint.restore(reader, trainer.engine.optimizer)


def _resume_batches(trainer: Trainer, reader: checkpoint.Reader) -> None:
    """Goes on in the data where the checkpoint was saved: within its phase, which the next step may have left behind."""
    phase = phase_saved(trainer.phases, trainer.step, reader.index.get("phase", 0), reader.folder)
    if phase.number != trainer.phase.number:
        trainer.enter(phase)
    trainer.batches.restore(reader.index["sampler"])
