"""Holds how a language or a task stands against the best that a run had, and says what is being forgotten."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

DOCUMENTS = "documents"  # of an evaluation's entry: (nats, tokens) of each document


class Standing(NamedTuple):
    """Says how a language's text, or a task, stands against its best evaluation before.

    worse: of text the share of the loss at `since` that was added, of a task the share of right answers that was lost. noise: of
    that, one unit. alarm: it is forgotten.
    """

    language: str
    worse: float
    noise: float
    since: int
    alarm: bool

    def told(self, name: str) -> str:
        """Says what is being forgotten, as text."""
        units = self.worse / self.noise if self.noise else math.inf
        return f"{name} {100 * self.worse:+.1f} % ({units:.0f} units of noise) since step {self.since}"


def alarm_text(standings: Mapping[str, Standing]) -> str:
    """Returns the one line that a run says of what is forgotten; empty if nothing is."""
    told = [each.told(name) for name, each in standings.items() if each.alarm]
    return f"ALARM, forgetting: {'; '.join(told)}" if told else ""
