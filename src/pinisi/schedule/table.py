"""Holds the schedule as data: for each rank an ordered list of passes. No clock, no holes, no communication."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pinisi.base.digests import of_value
from pinisi.base.errors import ScheduleError

if TYPE_CHECKING:
    from pinisi.schedule.costs import Costs


class Kind(StrEnum):
    """Kinds of pass. E, G, S, T work on a rank's vocabulary shard; F, B, W, BW on a stage."""

    E = "E"
    F = "F"
    S = "S"
    T = "T"
    B = "B"
    W = "W"
    BW = "BW"
    G = "G"


SHARD_KINDS = frozenset((Kind.E, Kind.S, Kind.T, Kind.G))


class Pass(NamedTuple):
    """One unit of work of one rank; `part` is the stage for F, B, W, BW and the rank for E, G, S, T."""

    kind: Kind
    part: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.part}{self.kind}{self.microbatch}"

    @staticmethod
    def parse(text: str) -> Pass:
        """Read "3F7": the pass F of stage 3 for microbatch 7."""
        match = re.fullmatch(r"(\d+)(BW|[EFSTBWG])(\d+)", text)
        if match is None:
            raise ScheduleError(f"'{text}' is no pass: write part, kind, microbatch, such as 3F7 or 0BW12")
        return Pass(Kind(match[2]), int(match[1]), int(match[3]))


@dataclass(frozen=True)
class Layout:
    """Which rank holds which stages, and how the vocabulary is treated.

    stages[rank] lists the rank's stages in order of chunk. barriers = 0: embedding and head belong to the
    first and the last stage; 1 or 2: every rank holds a shard of both (arXiv 2411.05288, algorithms 2 and 1).
    """

    stages: tuple[tuple[int, ...], ...]
    barriers: int = 0
    _rank: dict[int, int] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        if self.barriers not in (0, 1, 2):
            raise ScheduleError(f"barriers = {self.barriers}: it must be 0, 1 or 2")
        held = sorted(stage for stages in self.stages for stage in stages)
        if not held or held != list(range(len(held))):
            raise ScheduleError(f"the ranks hold stages {held}: each of 0, 1, ... must be held exactly once")
        rank_of = {stage: rank for rank, stages in enumerate(self.stages) for stage in stages}
        object.__setattr__(self, "_rank", rank_of)

    @property
    def ranks(self) -> int:
        return len(self.stages)

    @property
    def last_stage(self) -> int:
        return len(self._rank) - 1

    @property
    def first_rank(self) -> int:
        """The rank that holds stage 0."""
        return self._rank[0]

    @property
    def last_rank(self) -> int:
        """The rank that holds the last stage."""
        return self._rank[self.last_stage]

    @property
    def vocabulary_ranks(self) -> tuple[int, ...]:
        """Ranks that run E, G, S and T: all of them, or none with 0 barriers."""
        return tuple(range(self.ranks)) if self.barriers else ()

    def rank_of_stage(self, stage: int) -> int:
        return self._rank[stage]

    def rank_of(self, p: Pass) -> int:
        return p.part if p.kind in SHARD_KINDS else self._rank[p.part]


@dataclass(frozen=True)
class Schedule:
    """order[rank] is what the rank runs, in order.

    costs: what the order was chosen for, if anything; `lower` then chooses its places by them too. They are
    no part of the table: neither its text nor its equality knows them.
    """

    name: str
    layout: Layout
    microbatches: int
    order: tuple[tuple[Pass, ...], ...]
    costs: Costs | None = field(default=None, compare=False, repr=False)

    def passes(self) -> Iterator[tuple[int, int, Pass]]:
        """(rank, step, pass) of every pass."""
        for rank, passes in enumerate(self.order):
            for step, p in enumerate(passes):
                yield rank, step, p

    def to_text(self) -> str:
        """The table as text: a line of settings, a line of stages and then of passes for each rank."""
        head = f"schedule {self.name} microbatches {self.microbatches} barriers {self.layout.barriers}"
        lines = [
            f"rank {rank} stages {','.join(map(str, stages))}: {' '.join(map(str, passes))}"
            for rank, (stages, passes) in enumerate(zip(self.layout.stages, self.order, strict=True))
        ]
        return "\n".join([head, *lines]) + "\n"

    def digest(self) -> str:
        """Returns the SHA-256 of all that a run of it depends on: its text, and the costs by which `lower` chooses its places."""
        return of_value([self.to_text(), None if self.costs is None else asdict(self.costs)])

    @staticmethod
    def from_text(text: str) -> Schedule:
        """Read what `to_text` wrote; raises ScheduleError that names the line."""
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
        first = numbered[0][1] if numbered else ""
        head = re.fullmatch(r"schedule (\S+) microbatches (\d+) barriers (\d+)", first)
        if head is None:
            raise ScheduleError(
                f"line 1 of the schedule is '{first}': expected 'schedule NAME microbatches M barriers N'"
            )
        stages: list[tuple[int, ...]] = []
        order: list[tuple[Pass, ...]] = []
        for number, line in numbered[1:]:
            match = re.fullmatch(r"rank (\d+) stages ([\d,]+):(.*)", line)
            if match is None or int(match[1]) != len(order):
                raise ScheduleError(
                    f"line {number} of the schedule is '{line[:40]}':"
                    f" expected 'rank {len(order)} stages N,N: ...'"
                )
            stages.append(tuple(int(stage) for stage in match[2].split(",") if stage))
            try:
                order.append(tuple(Pass.parse(word) for word in match[3].split()))
            except ScheduleError as error:
                raise ScheduleError(f"line {number} of the schedule: {error}") from None
        return Schedule(head[1], Layout(tuple(stages), int(head[3])), int(head[2]), tuple(order))

    def excerpt(self, rank: int, step: int, around: int = 4) -> str:
        """The rank's passes near a step, with the step in >< brackets."""
        passes = self.order[rank]
        low, high = max(0, step - around), min(len(passes), step + around + 1)
        words = [f">{passes[at]}<" if at == step else str(passes[at]) for at in range(low, high)]
        before, after = "... " if low else "", " ..." if high < len(passes) else ""
        return f"rank {rank}, steps {low} to {high - 1}: {before}{' '.join(words)}{after}"
