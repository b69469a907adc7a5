"""Builds schedules by name."""

from __future__ import annotations

# Each of these registers its builders.
from pinisi.base.errors import ScheduleError
from pinisi.schedule.builders import classic, interlaced, interleaved, zero_bubble
from pinisi.schedule.builders.registry import BUILDERS
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.table import Layout, Schedule

__all__ = ["build", "classic", "interlaced", "interleaved", "layout_of", "names", "zero_bubble"]


def names() -> list[str]:
    """Of all schedules."""
    return sorted(BUILDERS)


@gc_disabled()
def build(
    name: str,
    ranks: int,
    microbatches: int,
    *,
    chunks: int | None = None,
    barriers: int = 0,
    costs: Costs | None = None,
) -> Schedule:
    """Build a schedule by name.

    chunks: stages a rank holds, where the schedule leaves it open. costs: what the order is chosen for, in seconds or any
    other unit; nominal ones where they aren't known. Raises ScheduleError for a name or number that can't be.
    """
    if isinstance(microbatches, bool) or not isinstance(microbatches, int) or microbatches < 1:
        raise ScheduleError(f"microbatches = {microbatches!r}: it must be a whole number of at least 1")
    layout = layout_of(name, ranks, chunks=chunks, barriers=barriers)
    if costs is not None:
        costs.check(layout)
    return BUILDERS[name].build(layout, microbatches, costs or NOMINAL)


def layout_of(name: str, ranks: int, *, chunks: int | None = None, barriers: int = 0) -> Layout:
    """Where a schedule puts its stages; raises ScheduleError as `build` does."""
    if name not in BUILDERS:
        raise ScheduleError(f"schedule '{name}' is not known: choose one of {', '.join(names())}")
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise ScheduleError(f"ranks = {ranks!r}: it must be a whole number of at least 1")
    chosen = BUILDERS[name]
    return Layout(chosen.stages(ranks, chosen.chunks if chunks is None else chunks), barriers)
