"""Groups what an engine is built from: its ranks, its share of the model, numbers, objective and optimizer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pinisi.base.errors import ConfigError
from pinisi.base.rounding import LARGEST_BETA
from pinisi.losses import Loss, weighted_cross_entropy
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.status import Status
from pinisi.schedule import Schedule
from pinisi.vocabulary import Shards

if TYPE_CHECKING:
    from pinisi.engine.engine import Engine


@dataclass(frozen=True)
class Ranks:
    """Says with whom this rank works.

    communicator: this pipeline's. data_group: the ranks that hold the same parameters in other replicas, over which gradients
    are summed. tied_group: with 0 barriers and tied ends on two ranks, those two. status: where the watchdog reads what this
    rank does.
    """

    communicator: Communicator
    data_group: dist.ProcessGroup | None = None
    tied_group: dist.ProcessGroup | None = None
    status: Status | None = None


@dataclass(frozen=True)
class Placement:
    """Says which rank holds and runs which part of the model.

    layers: how many each stage has; shards: which rows of the vocabulary each rank has. None: the even split of either.
    verified: digests of schedules that were verified already, such as by the launcher; the engine verifies any other.
    """

    schedule: Schedule
    layers: Sequence[int] | None = None
    shards: Shards | None = None
    verified: Collection[str] = ()


@dataclass(frozen=True)
class Numerics:
    """Says in which numbers and memory a model trains, and from which seed.

    dtype: of weights and activations. device: the CPU if None. activation_checkpointing: layers' activations are made again in
    the backward pass. compiler: torch.compile's backend for decoder layers; None: they run as they are. head_budget: bytes that
    the head may hold for a microbatch, see `HeadShard`. seed: of what is dropped in training, where the model's config drops
    anything.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | None = None
    activation_checkpointing: bool = False
    compiler: str | None = None
    head_budget: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Objective:
    """Says what a model is trained for.

    extra_weight: of the mean of the extra heads' losses, where the spec has such heads. languages: how many language numbers
    the batches use. teacher: an engine on the same ranks with the same rows, from which a loss that reads `divergence` learns.
    """

    loss: Loss = weighted_cross_entropy
    extra_weight: float = 0.3
    languages: int = 1
    teacher: Engine | None = None


@dataclass(frozen=True)
class OptimizerSettings:
    """Sets up AdamW. max_grad_norm: of the whole gradient, which is scaled down to it; 0: never. sharded: each replica holds
    and updates a part of the parameters; without replicas it changes nothing. moments: their dtype, that of master weights if
    left out; raises ConfigError for bfloat16 with decays that its eight bits can't follow (see `LARGEST_BETA`). average: decay of a
    moving average of the weights, which is kept beside them; 0: none."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    sharded: bool = False
    moments: torch.dtype | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.moments is torch.bfloat16 and max(self.betas) > LARGEST_BETA:
            raise ConfigError(
                f"moments in bfloat16 need betas of at most {LARGEST_BETA}, got {self.betas}: their eight bits lose what changes "
                "slower; use smaller betas, or moments as precise as the master weights"
            )
