"""Defines the interface of a probe: code that a caller gives a run, to look at its model while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer


class Probe(Protocol):
    """Looks at a run: called on every rank after each evaluation, with the trainer (see `Trainer.engine`, `frozen`, `step`). It may
    compute with the engine's forward-only passes, and leaves the run as it was."""

    def __call__(self, trainer: Trainer) -> None: ...

    def lacks(self, trainer: Trainer) -> bool:
        """Tells, where a run goes on, whether what is due at its step was not found before the run ended; alike on every rank."""
