"""Holds the seconds that each pass and each message costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pinisi.base.errors import ScheduleError
from pinisi.schedule.table import Kind, Layout

Cost = float | Sequence[float] | Sequence[Sequence[float]]


def _freeze(value: object, name: str) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_freeze(item, name) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScheduleError(
            f"cost {name} = {value!r}: it must be a number, one per rank, or one per (rank, chunk)"
        )
    if not math.isfinite(value) or value < 0:
        raise ScheduleError(f"cost {name} = {value}: seconds must be finite and not negative")
    return float(value)


@dataclass(frozen=True)
class Costs:
    """Seconds of each pass and message: each a number, one per rank, or one per (rank, chunk).

    backward excludes the weight gradient: BW costs backward + weight. With 0 barriers the last rank's numbers
    include the head's and the first's the embedding's. p2p is one ACTIVATION or GRADIENT message (per sending
    rank), embedding one message of embedding rows or their gradient; c0, c1, c2 and u (the reduce chained
    behind C1 with 1 barrier) are collectives, and a sequence there means: as slow as its slowest rank.
    """

    forward: Cost
    backward: Cost
    weight: Cost = 0.0
    head_s: Cost = 0.0
    head_t: Cost = 0.0
    embedding_forward: Cost = 0.0
    embedding_gradient: Cost = 0.0
    p2p: Cost = 0.0
    c0: Cost = 0.0
    c1: Cost = 0.0
    u: Cost = 0.0
    c2: Cost = 0.0
    embedding: Cost = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _freeze(getattr(self, field.name), field.name))

    def at(self, name: str, rank: int, chunk: int = 0) -> float:
        """The cost `name` on a rank (and chunk)."""
        value = getattr(self, name)
        if isinstance(value, tuple):
            value = value[rank]
        return value[chunk] if isinstance(value, tuple) else value

    def slowest(self, name: str) -> float:
        """The cost `name` of a collective: that of its slowest rank."""
        value = getattr(self, name)
        return max(value, default=0.0) if isinstance(value, tuple) else value

    def check(self, layout: Layout) -> None:
        """Raise ScheduleError where a sequence doesn't fit the layout's ranks and chunks."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, tuple):
                continue
            if len(value) != layout.ranks:
                raise ScheduleError(
                    f"cost {field.name} has {len(value)} numbers for {layout.ranks} ranks: give one per rank"
                )
            for rank, item in enumerate(value):
                chunks = len(layout.stages[rank])
                if isinstance(item, tuple) and (
                    len(item) != chunks or any(isinstance(x, tuple) for x in item)
                ):
                    raise ScheduleError(
                        f"cost {field.name} of rank {rank} has {len(item)} numbers for {chunks} chunks:"
                        " give one per chunk"
                    )
                if isinstance(item, tuple) and field.name not in ("forward", "backward", "weight"):
                    raise ScheduleError(f"cost {field.name} doesn't depend on the chunk: give one per rank")

    def table(self, layout: Layout) -> dict[tuple[Kind, int], float]:
        """Seconds of a pass by (kind, part)."""
        self.check(layout)
        result: dict[tuple[Kind, int], float] = {}
        for rank, stages in enumerate(layout.stages):
            for chunk, stage in enumerate(stages):
                result[Kind.F, stage] = self.at("forward", rank, chunk)
                result[Kind.B, stage] = self.at("backward", rank, chunk)
                result[Kind.W, stage] = self.at("weight", rank, chunk)
                result[Kind.BW, stage] = result[Kind.B, stage] + result[Kind.W, stage]
            for kind, name in _SHARD_COSTS.items():
                result[kind, rank] = self.at(name, rank)
        return result

    def work(self, layout: Layout) -> list[float]:
        """Per rank, the sum of one microbatch's passes."""
        seconds = self.table(layout)
        kinds = _SHARD_COSTS if layout.barriers else ()
        return [
            sum(seconds[Kind.F, s] + seconds[Kind.BW, s] for s in stages)
            + sum(seconds[k, rank] for k in kinds)
            for rank, stages in enumerate(layout.stages)
        ]

    def busiest(self, layout: Layout) -> float:
        """The largest of `work`: no schedule's interval is shorter."""
        return max(self.work(layout))

    def positive(self, layout: Layout) -> Costs:
        """The same with no pass shorter than a thousandth of an interval, so that times alone give an
        order."""
        least = self.busiest(layout) / 1000
        if not least:
            return NOMINAL

        def raised(value: Any) -> Any:
            return tuple(raised(item) for item in value) if isinstance(value, tuple) else max(value, least)

        return replace(self, **{name: raised(getattr(self, name)) for name in PASS_COSTS})


PASS_COSTS = (
    "forward",
    "backward",
    "weight",
    "head_s",
    "head_t",
    "embedding_forward",
    "embedding_gradient",
)
_SHARD_COSTS = {
    Kind.S: "head_s",
    Kind.T: "head_t",
    Kind.E: "embedding_forward",
    Kind.G: "embedding_gradient",
}

# What an order is chosen for when nothing is known: B = W = F, a head of about half a layer's work per rank,
# and communication short but not free, so that an order leaves room for it.
NOMINAL = Costs(
    forward=1.0,
    backward=1.0,
    weight=1.0,
    head_s=0.3,
    head_t=0.3,
    embedding_forward=0.03,
    embedding_gradient=0.03,
    p2p=0.02,
    c0=0.05,
    c1=0.05,
    u=0.05,
    c2=0.05,
    embedding=0.02,
)
