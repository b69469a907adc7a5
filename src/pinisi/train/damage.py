"""Compares a run's data with their digests before it starts."""

from __future__ import annotations

import torch.distributed as dist

from pinisi.base.errors import DataError
from pinisi.parallel.agree import gather_json
from pinisi.parallel.status import Status
from pinisi.train.task import Task


def verify_data(task: Task, status: Status) -> None:
    """Raises DataError on every rank if a file of a task's data is not as it was written; each rank reads a share."""
    for name, damage in task.damage():
        status.phase(f"comparing the digests of {name}")
        for wrong in gather_json(damage(dist.get_rank(), dist.get_world_size())):
            if wrong:
                raise DataError(f"{wrong}; tokenize again, or bring back a copy")
