"""States who waits for whom, and over which channel: it is stated here alone; everything else is derived."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from pinisi.schedule.table import Kind, Layout, Pass


class Channel(StrEnum):
    """How the result of a pass reaches the pass that needs it."""

    STASH = "STASH"  # kept on the same rank
    ACTIVATION = "ACTIVATION"  # stage to next stage
    GRADIENT = "GRADIENT"  # stage to previous stage
    C0 = "C0"  # the last stage's output to every rank
    C1 = "C1"  # S's statistics to every rank; with 1 barrier chained with the reduce of U
    C2 = "C2"  # the sum of T's input gradients to the last stage
    EMBEDDING = "EMBEDDING"  # embedding rows to stage 0
    EMBEDDING_GRADIENT = "EMBEDDING_GRADIENT"  # stage 0's input gradient to the rows' owners


COLLECTIVE = frozenset((Channel.C0, Channel.C1, Channel.C2))


class Need(NamedTuple):
    """What a pass waits for: all of `sources`, by way of one channel."""

    sources: tuple[Pass, ...]
    via: Channel


@lru_cache(maxsize=4096)
def _shards(kind: Kind, ranks: int, microbatch: int) -> tuple[Pass, ...]:
    return tuple(Pass(kind, rank, microbatch) for rank in range(ranks))


def gives(p: Pass) -> tuple[Pass, ...]:
    """The passes that p stands for: BW does the work of B and of W."""
    if p.kind is Kind.BW:
        return p, Pass(Kind.B, p.part, p.microbatch), Pass(Kind.W, p.part, p.microbatch)
    return (p,)


def needs(p: Pass, layout: Layout) -> Iterator[Need]:
    """Yield what p waits for. A gradient's source is always named B: a BW stands for it (see `gives`)."""
    kind, part, i = p
    last = layout.last_stage
    if kind is Kind.F:
        if part:
            yield Need((Pass(Kind.F, part - 1, i),), Channel.ACTIVATION)
        elif layout.barriers:
            yield Need(_shards(Kind.E, layout.ranks, i), Channel.EMBEDDING)
    elif kind is Kind.B or kind is Kind.BW:
        yield Need((Pass(Kind.F, part, i),), Channel.STASH)
        if part != last:
            yield Need((Pass(Kind.B, part + 1, i),), Channel.GRADIENT)
        elif layout.barriers == 1:
            yield Need(_shards(Kind.S, layout.ranks, i), Channel.C1)
        elif layout.barriers == 2:
            yield Need(_shards(Kind.T, layout.ranks, i), Channel.C2)
    elif kind is Kind.W:
        yield Need((Pass(Kind.B, part, i),), Channel.STASH)
    elif kind is Kind.S:
        yield Need((Pass(Kind.F, last, i),), Channel.C0)
    elif kind is Kind.T:
        yield Need((Pass(Kind.S, part, i),), Channel.STASH)
        yield Need(_shards(Kind.S, layout.ranks, i), Channel.C1)
    elif kind is Kind.G:
        yield Need((Pass(Kind.B, 0, i),), Channel.EMBEDDING_GRADIENT)


class Gradients(IntEnum):
    """Numbers the gradients of a rank that are no one stage's; a stage's own have the stage's number, from 0 on."""

    EMBEDDING = -1  # the rank's rows of the embedding
    HEAD = -2  # the rank's rows of the head
    TIED = -3  # the rank's rows of one matrix that is both
    ENDS = -4  # with 0 barriers the one matrix that the first and the last stage, on the same rank, share


_TIED = (Gradients.TIED, Gradients.ENDS)


def gradients_of(layout: Layout, rank: int, *, tied: bool) -> list[int]:
    """Returns the numbers of a rank's groups of gradients: each group is complete when the same passes are done.

    tied: embedding and head are one matrix. Where the two ends of one stand on two ranks (0 barriers), it is in no group: it
    is summed over these ranks first, when all passes are done.
    """
    found: list[int] = list(layout.stages[rank])
    if layout.barriers:
        return found + ([Gradients.TIED] if tied else [Gradients.EMBEDDING, Gradients.HEAD])
    ends = {0, layout.last_stage}
    return found + ([Gradients.ENDS] if tied and len(ends) == 2 and ends <= set(found) else [])


def are_tied(group: int) -> bool:
    """Whether a group is there in models alone whose embedding and head are one matrix."""
    return group in _TIED


def adders(group: int, rank: int, layout: Layout) -> tuple[tuple[Kind, int], ...]:
    """Returns the kinds and parts of all passes that add to a group of gradients. B and W both do to a stage's: what isn't a
    linear layer's is added in B."""
    if group == Gradients.EMBEDDING:
        return ((Kind.G, rank),)
    if group == Gradients.HEAD:
        return ((Kind.T, rank),)
    if group == Gradients.TIED:
        return ((Kind.T, rank), (Kind.G, rank))
    stages = {0: None, layout.last_stage: None} if group == Gradients.ENDS else {group: None}
    return tuple((kind, stage) for stage in stages for kind in (Kind.B, Kind.W, Kind.BW))
