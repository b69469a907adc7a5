"""Numbers the passes of one microbatch and what feeds what: `needs` as small tables.

All microbatches are alike, so a pass is its type, (kind, part), and its microbatch; in flat lists its number is
type * microbatches + microbatch. To replay, fill and lower a table of 300,000 passes asks `needs` a thousand times only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from pinisi.base.errors import ScheduleError
from pinisi.schedule.identity_cache import IdentityCache
from pinisi.schedule.needs import COLLECTIVE, Channel, gives, needs
from pinisi.schedule.table import SHARD_KINDS, Kind, Layout, Pass, Schedule

GROUPS = (Channel.C0, Channel.C1, Channel.C2)  # collectives; their types follow those of the passes


class Feed(NamedTuple):
    """An arrow: the type of the pass or collective that is fed, how it gets there, and whether it stays on the rank."""

    target: int
    via: Channel
    local: bool


class Graph:
    """types[t] = (kind, part); number[kind, part] = t; rank[t]; wants[t]: how many arrows lead to it; feeds[t]: those from it.

    A collective (group[channel] is its type) stands between its sources and those that wait for it. With 1 barrier the last
    stage's B waits for U, which is chained behind C1 and found under C2.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        stages, ranks = range(layout.last_stage + 1), layout.vocabulary_ranks
        self.types = [(kind, part) for kind in Kind for part in (ranks if kind in SHARD_KINDS else stages)]
        self.number = {key: t for t, key in enumerate(self.types)}
        self.rank = [layout.rank_of(Pass(kind, part, 0)) for kind, part in self.types]
        self.group = {via: len(self.types) + at for at, via in enumerate(GROUPS)}
        self.wants = [0] * (len(self.types) + len(GROUPS))
        self.feeds: list[list[Feed]] = [[] for _ in self.wants]
        self.givers: dict[Pass, list[int]] = defaultdict(list)  # B(0) is given by the types B and BW
        for t, (kind, part) in enumerate(self.types):
            for given in gives(Pass(kind, part, 0)):
                self.givers[given].append(t)
        fed: dict[int, tuple[Pass, ...]] = {}
        for t, (kind, part) in enumerate(self.types):
            for sources, via in needs(Pass(kind, part, 0), layout):
                if via in COLLECTIVE:
                    self._behind(t, kind, via, sources, fed)
                else:
                    self._feed(sources, t, via)
        for group, sources in fed.items():
            self._feed(sources, group, Channel.STASH)

    def _feed(self, sources: tuple[Pass, ...], target: int, via: Channel) -> None:
        rank = self.rank[target] if target < len(self.types) else -1
        self.wants[target] += len(sources)
        for source in sources:
            for giver in self.givers[source]:
                self.feeds[giver].append(Feed(target, via, self.rank[giver] == rank))

    def _behind(
        self, t: int, kind: Kind, via: Channel, sources: tuple[Pass, ...], fed: dict[int, tuple[Pass, ...]]
    ) -> None:
        """Type t waits for a collective, which waits for its sources."""
        fed[self.group[via]] = sources
        group = self.group[via]
        if via is Channel.C1 and kind in (Kind.B, Kind.BW):
            group = self.group[Channel.C2]
            self.wants[group] = 1  # the chain behind C1
        self.feeds[group].append(Feed(t, via, True))
        self.wants[t] += 1


@lru_cache(maxsize=64)
def graph_of(layout: Layout) -> Graph:
    return Graph(layout)


def passes_of(graph: Graph, microbatches: int, numbers: Iterable[int]) -> tuple[Pass, ...]:
    """The passes that have these numbers."""
    new, types = (
        tuple.__new__,
        graph.types,
    )  # takes half the time of Pass(...), and there are hundreds of thousands
    return tuple(
        [new(Pass, (*types[p // microbatches], p % microbatches)) for p in numbers]  # a list is made faster
    )


def _numbered(schedule: Schedule) -> list[list[int]]:
    number, m = graph_of(schedule.layout).number, schedule.microbatches
    try:
        return [[number[p[:2]] * m + p[2] for p in row] for row in schedule.order]
    except KeyError as error:
        kind, part = error.args[0]
        raise ScheduleError(f"schedule '{schedule.name}': its layout has no pass {part}{kind}") from None


# The table with each pass as its number; raises ScheduleError for a pass that its layout doesn't have.
numbered = IdentityCache(_numbered)
