"""Plans one model body with vocabularies of several sizes, to tell what a larger vocabulary costs beyond its own arithmetic."""

from __future__ import annotations

import dataclasses

from pinisi.base.errors import ConfigError
from pinisi.costs.work import model_flops
from pinisi.plan.candidates import Request
from pinisi.plan.planner import PlanRow, make_plan


@dataclasses.dataclass(frozen=True)
class PlannedSize:
    """The fastest way to run a body with a vocabulary of this size.

    split: with vocabulary passes (1 or 2 barriers), else with the whole head on one rank. flops_per_token: of the model,
    forward and backward, recomputation not counted.
    """

    vocabulary: int
    devices: int
    split: bool
    row: PlanRow
    flops_per_token: float

    @property
    def tokens_per_second(self) -> float:
        """Of all devices."""
        return self.row.tokens_per_second

    @property
    def useful_flops_per_second(self) -> float:
        """The model's own operations that all devices do in a second."""
        return self.tokens_per_second * self.flops_per_token


def planned_size(request: Request, vocabulary: int, *, split: bool) -> PlannedSize:
    """Plans the request's model with another number of rows; raises ConfigError where no way fits into memory."""
    shape = dataclasses.replace(request.shape, vocabulary=vocabulary)
    barriers = (1, 2) if split else (0,)
    row = make_plan(dataclasses.replace(request, shape=shape, barriers=barriers)).rows[0]
    if row.status != "fits":
        raise ConfigError(
            f"a vocabulary of {vocabulary:,} with{'' if split else 'out'} vocabulary passes: no way was found that fits on "
            f"{request.ranks} devices ({row.why}): take more devices, or more time to plan (--seconds)"
        )
    flops = model_flops(shape, request.setting) / request.setting.tokens
    return PlannedSize(vocabulary, request.ranks, split, row, flops)


def lost_beyond_flops(small: PlannedSize, large: PlannedSize) -> float:
    """The share of tokens per second that the larger vocabulary costs beyond the operations of its rows: 0 where the devices
    do as many of the model's own operations in a second as with the smaller one."""
    return 1 - large.useful_flops_per_second / small.useful_flops_per_second
