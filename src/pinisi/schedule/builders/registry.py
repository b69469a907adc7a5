"""Keeps the builders of schedules by name. A new schedule is one function with `@builder("its-name")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pinisi.base.errors import ScheduleError
from pinisi.schedule.costs import Costs
from pinisi.schedule.table import Layout, Schedule

Build = Callable[[Layout, int, Costs], Schedule]  # (layout, microbatches, costs)
Stages = tuple[tuple[int, ...], ...]  # the stages of each rank


class Builder(NamedTuple):
    """build: makes the table. stages(ranks, chunks): the placement. chunks: stages a rank holds unless told otherwise."""

    build: Build
    stages: Callable[[int, int], Stages]
    chunks: int


BUILDERS: dict[str, Builder] = {}


def in_line(ranks: int, chunks: int) -> Stages:
    """One stage on each rank."""
    if chunks != 1:
        raise ScheduleError(f"chunks = {chunks}: this schedule holds one stage on each rank, so it must be 1")
    return tuple((rank,) for rank in range(ranks))


def in_a_v(ranks: int, chunks: int) -> Stages:
    """Two stages on each rank, the second on the way back: rank r holds r and 2p - 1 - r."""
    if chunks != 2:
        raise ScheduleError(f"chunks = {chunks}: a V holds two stages on each rank, so it must be 2")
    return tuple((rank, 2 * ranks - 1 - rank) for rank in range(ranks))


def looped(ranks: int, chunks: int) -> Stages:
    """Stage s on rank s mod p."""
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise ScheduleError(f"chunks = {chunks!r}: it must be a whole number of at least 1")
    return tuple(tuple(range(rank, ranks * chunks, ranks)) for rank in range(ranks))


def builder(
    name: str, *, chunks: int = 1, stages: Callable[[int, int], Stages] = in_line
) -> Callable[[Build], Build]:
    """Registers a builder (layout, microbatches, costs) -> Schedule."""

    def register(function: Build) -> Build:
        BUILDERS[name] = Builder(function, stages, chunks)
        return function

    return register
