"""Remembers a run's best held-out loss: for the checkpoint that stays, and for ending a run that no longer gets better.

What is remembered follows from the evaluations in metrics.jsonl alone, so a run that resumes knows what it knew.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pinisi.config import RunConfig
from pinisi.parallel.agree import gather_json
from pinisi.train.metrics import evaluations_of


class BestLoss:
    """Holds the least mean over languages so far, as checkpoint.best and evaluation.patience use it."""

    def __init__(self, config: RunConfig):
        self.folder, self.keep = Path(config.run.folder), config.checkpoint.best
        self.patience = config.evaluation.patience
        self.forget()

    def forget(self) -> None:
        self.loss, self.step, self.seen = math.inf, -1, -1
        self.waited = 0  # evaluations since the best one
        self.last: dict[str, dict[str, float]] = {}

    def lacks(self, step: int) -> bool:
        """Tells whether the evaluation of a step that was resumed from is missing: the run ended before it."""
        return self.seen < step

    @property
    def spared(self) -> int | None:
        """Returns the step whose checkpoint stays, if any does."""
        return self.step if self.keep and self.step >= 0 else None

    @property
    def exhausted(self) -> bool:
        """Tells whether the run has had its evaluations without a better one."""
        return 0 < self.patience <= self.waited

    def read(self, step: int) -> None:
        """Takes over the evaluations up to `step` that the first rank finds in the run's metrics; a collective call."""
        self.forget()
        for at, found in gather_json(evaluations_of(self.folder, step))[0]:
            self.add(at, found)

    def add(self, step: int, found: dict[str, Any]) -> bool:
        """Takes an evaluation, of the first rank, so that all decide alike; returns whether it is the best one so far. One of a
        step that was seen before is none. A collective call where there are ranks."""
        if not found or step <= self.seen:
            return False
        found = gather_json(found)[0]
        self.seen, self.last = step, found
        loss = mean_loss(found)
        better = loss < self.loss
        if better:
            self.loss, self.step, self.waited = loss, step, 0
        else:
            self.waited += 1
        return better

    def told(self) -> str:
        """Says why a run that is exhausted ends."""
        return (
            f"ended early: {self.waited} evaluations without a better held-out loss than {self.loss:.4f} of step {self.step} "
            "(evaluation.patience)"
        )


def mean_loss(found: dict[str, Any]) -> float:
    """Returns the mean over languages or components, in nats a token."""
    return sum(entry["loss"] for entry in found.values()) / len(found)


def best_step(folder: Path) -> int | None:
    """Returns the step of the run in `folder` with the least held-out loss that has a checkpoint; None without any."""
    there = {path.name for path in (folder / "checkpoints").glob("step-*")}
    found = [(mean_loss(each), step) for step, each in evaluations_of(folder) if f"step-{step:08d}" in there]
    return min(found, default=(0.0, None))[1]
