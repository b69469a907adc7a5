"""Seeds dropout: the same for any number of ranks and replicas, and when a run is resumed."""

from __future__ import annotations

import hashlib

import torch.distributed as dist


class Dropout:
    """Hands out a seed for each microbatch, by the run's seed, the update, and the microbatch's number in the whole step.

    The layers' numbers come in where they draw (`models.stage.BoundLayer`). Replicas take a step's microbatches in turn, as the
    sampler deals them. Several gradients before one update draw anew.
    """

    def __init__(self, seed: int, data_group: dist.ProcessGroup | None):
        self.seed = seed
        self.replica = dist.get_rank(data_group) if data_group is not None else 0
        self.replicas = dist.get_world_size(data_group) if data_group is not None else 1
        self._update, self._before = -1, 0

    def seeds(self, update: int, microbatches: int) -> list[int]:
        """Of this replica's microbatches of a step, of which `update` updates lie behind."""
        if update != self._update:
            self._update, self._before = update, 0
        first, self._before = self._before, self._before + microbatches
        numbers = ((first + i) * self.replicas + self.replica for i in range(microbatches))
        return [self._seed(update, number) for number in numbers]

    def _seed(self, update: int, number: int) -> int:
        digest = hashlib.sha256(f"{self.seed}\0{update}\0{number}".encode()).digest()
        return int.from_bytes(digest[:8], "little")
