"""Holds when each pass ran: predicted by `simulate` or measured by the runtime, in one type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pinisi.base.errors import ScheduleError
from pinisi.schedule.table import Kind, Pass, Schedule


class Span(NamedTuple):
    """One pass and the seconds at which it started and ended."""

    pass_: Pass
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """spans[rank]: the rank's passes in the order in which they ran; seconds since the step's start."""

    schedule: Schedule
    spans: tuple[tuple[Span, ...], ...]

    @cached_property
    def makespan(self) -> float:
        """Seconds from the first start to the last end, over all ranks."""
        spans = [span for rank in self.spans for span in rank]
        return max(s.end for s in spans) - min(s.start for s in spans) if spans else 0.0

    def busy(self, rank: int) -> float:
        """Seconds that the rank spent in passes."""
        return sum(span.end - span.start for span in self.spans[rank])

    def bubble(self, rank: int) -> float:
        """The rank's idle time / makespan."""
        return 1.0 - self.busy(rank) / self.makespan if self.makespan else 0.0

    def peak_activation(self, rank: int) -> float:
        """Most activations alive at once, in microbatches of the rank's whole share of layers.

        One lives from its F's start to the end of its last backward pass: BW, or of B and W the later.
        """
        alive: dict[tuple[int, int], list[float]] = {}
        for (kind, part, i), start, end in self.spans[rank]:
            if kind is Kind.F:
                alive[part, i] = [start, start]
            elif kind in (Kind.B, Kind.W, Kind.BW) and (part, i) in alive:
                alive[part, i][1] = end
        # At equal times the end counts first: the next F reuses what BW has just freed.
        changes = sorted([(t, 1) for t, _ in alive.values()] + [(t, -1) for _, t in alive.values()])
        now = peak = 0
        for _, change in changes:
            now += change
            peak = max(peak, now)
        return peak / max(1, len(self.schedule.layout.stages[rank]))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, ready for JSON."""
        spans = [[[str(s.pass_), s.start, s.end] for s in rank] for rank in self.spans]
        return {"schedule": self.schedule.to_text(), "spans": spans}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Timeline:
        """Read what `to_dict` wrote."""
        try:
            spans = tuple(
                tuple(Span(Pass.parse(p), float(start), float(end)) for p, start, end in rank)
                for rank in data["spans"]
            )
            return Timeline(Schedule.from_text(data["schedule"]), spans)
        except (KeyError, TypeError) as error:
            raise ScheduleError(
                f"this is no timeline ({error!r}):"
                " expected {'schedule': text, 'spans': [[[pass, start, end]]]}"
            ) from None
