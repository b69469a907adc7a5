"""Defines instructions: what one rank's thread does, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pinisi.schedule.needs import Gradients
from pinisi.schedule.table import Pass, Schedule


class MessageChannel(StrEnum):
    """What carries a message. ACTIVATION to EMBEDDING_GRADIENT are point to point, the rest collectives: REDUCE of a rank
    with the same rank of every other replica, the others of all ranks of a pipeline."""

    ACTIVATION = "ACTIVATION"
    GRADIENT = "GRADIENT"
    EMBEDDING = "EMBEDDING"
    EMBEDDING_GRADIENT = "EMBEDDING_GRADIENT"
    C0 = "C0"  # broadcast of X from the last stage's rank
    C1 = "C1"  # all-gather of the statistics
    U = "U"  # 1 barrier: reduce to the last stage's rank, chained behind C1
    C2 = "C2"  # 2 barriers: reduce of dX to the last stage's rank
    REDUCE = "REDUCE"  # sum of a group of gradients over the replicas of the model


Edge = tuple[MessageChannel, int, int]  # a channel, and the rank that sends on it to another

P2P = frozenset(
    (
        MessageChannel.ACTIVATION,
        MessageChannel.GRADIENT,
        MessageChannel.EMBEDDING,
        MessageChannel.EMBEDDING_GRADIENT,
    )
)


class Message(NamedTuple):
    """source, target: ranks; -1 = every rank. stage: the stage whose F or B takes an activation or
    gradient; of a REDUCE, which has microbatch 0 and its own rank at both ends, the group of gradients (see `gradients_of`)."""

    channel: MessageChannel
    microbatch: int
    source: int
    target: int
    stage: int = 0

    def __str__(self) -> str:
        if self.channel is MessageChannel.REDUCE:
            group = f"stage {self.stage}" if self.stage >= 0 else Gradients(self.stage).name
            return f"{self.channel}({group} of rank {self.source})"
        ends = ("all" if rank < 0 else str(rank) for rank in (self.source, self.target))
        return f"{self.channel}({self.microbatch}, {' to '.join(ends)})"


class Op(StrEnum):
    """RUN a pass; SEND and RECEIVE post, LAUNCH enters a collective, all without waiting; WAIT waits."""

    RUN = "RUN"
    SEND = "SEND"
    RECEIVE = "RECEIVE"
    LAUNCH = "LAUNCH"
    WAIT = "WAIT"


class Instruction(NamedTuple):
    op: Op
    what: Pass | Message

    def __str__(self) -> str:
        return f"{self.op} {self.what}"


@dataclass(frozen=True)
class Program:
    """instructions[rank]; collectives: the one order in which every rank launches them; reductions: of each rank the sums over
    replicas, in the order in which it and the same rank of every other replica launch them. One pipeline alone has none."""

    schedule: Schedule
    instructions: Sequence[Sequence[Instruction]]
    collectives: tuple[Message, ...]
    reductions: tuple[Message, ...] = ()
