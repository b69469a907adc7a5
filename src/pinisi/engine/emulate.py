"""Emulates compute: each pass sleeps for its given cost; order, communication and memory slots are real.

Many ranks on a few cores can't show a pipeline's speed with real arithmetic, since they take the cores from one another.
A sleeping pass takes none, so the measured step is the schedule's and the communication's own.
"""

from __future__ import annotations

import time
from collections import Counter

import torch

from pinisi.schedule import Costs, Kind, Layout, Pass
from pinisi.schedule.program import Message, MessageChannel


class EmulatedWorker:
    """Implements `executor.Worker` with sleeps.

    `elements` is the size of a message in fp32 numbers. `alive` counts the activations (one a stage and microbatch) that
    this rank holds, `peak` its highest value.
    """

    def __init__(self, layout: Layout, rank: int, costs: Costs, elements: int = 1024):
        self.layout, self.rank, self.elements = layout, rank, elements
        self.seconds = costs.table(layout)
        self.alive: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()

    def run(self, p: Pass) -> None:
        until = time.perf_counter() + self.seconds[p.kind, p.part]
        if p.kind in (Kind.F, Kind.S):
            self.alive[p.kind.value] += 1
            self.peak[p.kind.value] = max(self.peak[p.kind.value], self.alive[p.kind.value])
        left = until - time.perf_counter()
        if left > 0:
            time.sleep(left)
        if p.kind in (Kind.W, Kind.BW):
            self.alive["F"] -= 1
        elif p.kind is Kind.T:
            self.alive["S"] -= 1

    def payload(self, message: Message) -> torch.Tensor:
        if message.channel is MessageChannel.C1:
            return torch.zeros(3, max(1, self.elements // 64))
        return torch.zeros(self.elements)

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        """Nothing to keep: passes don't read their inputs."""
