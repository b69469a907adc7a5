"""Sends a run's numbers to dashboards: TensorBoard where it is installed, Weights & Biases where it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinisi.base.digests import of_value
from pinisi.base.libraries import library
from pinisi.config import RunConfig


class Boards:
    """Writes each number to all boards under one name. step: that the run goes on from, behind which nothing counts."""

    def __init__(self, config: RunConfig, step: int):
        folder = Path(config.run.folder)
        self._tensorboard = _tensorboard(folder / "tensorboard", step)
        self._wandb = _wandb(config, folder) if config.report.wandb else None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._tensorboard is not None:
            for name, value in numbers.items():
                self._tensorboard.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(numbers), step=step)

    def close(self) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def check_boards(config: RunConfig) -> None:
    """Raises DataError, which says what to install, where a board is asked for that isn't there."""
    if config.report.wandb:
        library("wandb", "wandb")


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # What an earlier try wrote at `purge_step` and behind is hidden; the step that we go on from is not written again.
    return SummaryWriter(str(folder), purge_step=step + 1 if step else 0)


def _wandb(config: RunConfig, folder: Path) -> Any:
    """A run of Weights & Biases; the same one, by its id, each time that this run goes on."""
    return library("wandb", "wandb").init(
        project=config.report.wandb,
        name=config.run.name or folder.name,
        id=of_value(str(folder.absolute()))[:16],
        resume="allow",
        dir=str(folder),
        config=dataclasses.asdict(config),
    )
