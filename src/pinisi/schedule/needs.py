"""States who waits for whom, and over which channel: it is stated here alone; everything else is derived."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
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
