"""Puts the ranks on a grid with named axes, and says by name which coordinate, which group and how many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import product

import torch.distributed as dist

from pinisi.base.errors import CommunicationError
from pinisi.parallel.status import waiting

# What each axis divides, outermost first: neighbours on the last one are neighbours by rank. A new axis is a row here.
AXES = {
    "data": "a step's microbatches, over replicas of the model",
    "pipeline": "the model's stages, and the rows of its vocabulary",
}


@dataclass(frozen=True)
class Grid:
    """Numbers ranks by coordinates on named axes; sizes: of each axis, outermost first."""

    sizes: Mapping[str, int]

    @property
    def ranks(self) -> int:
        return math.prod(self.sizes.values())

    def coordinates(self, rank: int) -> dict[str, int]:
        """Returns where a rank stands on each axis."""
        found = {}
        for axis, size in reversed(list(self.sizes.items())):
            rank, found[axis] = divmod(rank, size)
        return {axis: found[axis] for axis in self.sizes}

    def rank(self, coordinates: Mapping[str, int]) -> int:
        """Returns the rank that stands there."""
        found = 0
        for axis, size in self.sizes.items():
            found = found * size + coordinates[axis]
        return found

    def lines(self, axis: str) -> list[list[int]]:
        """Returns the ranks of each line along an axis: those that differ in this coordinate alone."""
        others = [range(1 if name == axis else size) for name, size in self.sizes.items()]
        starts = (dict(zip(self.sizes, at, strict=True)) for at in product(*others))
        return [[self.rank({**at, axis: n}) for n in range(self.sizes[axis])] for at in starts]


class Mesh:
    """Says where this process stands among all: `connect` makes the groups of every axis in one call.

    tied: the two ranks of this pipeline at which embedding and head stand apart and are one matrix, if this is one of them.
    """

    def __init__(
        self,
        grid: Grid,
        rank: int,
        groups: Mapping[str, dist.ProcessGroup],
        tied: dist.ProcessGroup | None = None,
    ):
        self.grid, self.rank, self.tied = grid, rank, tied
        self.coordinates = grid.coordinates(rank)
        self._groups = dict(groups)

    @classmethod
    def connect(
        cls,
        sizes: Mapping[str, int],
        *,
        tied: tuple[int, int] | None = None,
        timeout: timedelta | None = None,
    ) -> Mesh:
        """Makes the mesh of all processes; a collective call.

        sizes: of each axis but "data", which takes the ranks that remain; 1 where an axis is left out. tied: the places on the
        pipeline of the two ends of a tied matrix, where they stand apart. timeout: of the groups' collectives; torch's own if
        left out. Raises CommunicationError for an axis that isn't there, or where the ranks can't be divided.
        """
        world, rank = dist.get_world_size(), dist.get_rank()
        grid = grid_of(sizes, world)
        groups: dict[str, dist.ProcessGroup] = {}
        mine = None
        with waiting():
            for axis, size in grid.sizes.items():
                for line in grid.lines(axis) if size > 1 else []:
                    group = dist.new_group(line, timeout=timeout)
                    if rank in line:
                        groups[axis] = group
            for line in grid.lines("pipeline") if tied else []:
                ends = [line[place] for place in tied or ()]
                group = dist.new_group(ends, timeout=timeout)
                mine = group if rank in ends else mine
        return cls(grid, rank, groups, mine)

    def size(self, axis: str) -> int:
        """How many ranks there are along an axis."""
        return self.grid.sizes[_known(axis)]

    def coordinate(self, axis: str) -> int:
        """Where this rank stands on an axis."""
        return self.coordinates[_known(axis)]

    def group(self, axis: str) -> dist.ProcessGroup | None:
        """The ranks of this rank's line along an axis, None where it is alone: then there is nothing to sum or to gather."""
        return self._groups.get(_known(axis))

    def lines(self, axis: str) -> list[list[int]]:
        """The global ranks of each line along an axis."""
        return self.grid.lines(_known(axis))


def grid_of(sizes: Mapping[str, int], world: int) -> Grid:
    """Returns the grid of `world` ranks with these sizes. Raises CommunicationError as `Mesh.connect` does."""
    for axis in sizes:
        _known(axis)
    others = math.prod(size for axis, size in sizes.items() if axis != "data")
    if others < 1 or world % others or world // others != sizes.get("data", world // others):
        wanted = " x ".join(f"{size} ({axis})" for axis, size in sizes.items())
        raise CommunicationError(
            f"{world} processes can't be divided into {wanted} ranks: start a multiple of {max(1, others)} (pipeline.ranks)"
        )
    return Grid({axis: sizes.get(axis, 1 if axis != "data" else world // others) for axis in AXES})


def _known(axis: str) -> str:
    if axis not in AXES:
        raise CommunicationError(f"there is no axis {axis!r} of the mesh: choose one of {', '.join(AXES)}")
    return axis
