"""Notices steps whose loss leaps up, in units of the noise of the steps before (PaLM, arXiv 2204.02311, section 5.1)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pinisi.base.errors import PinisiError
from pinisi.config import WatchSection

FEWEST = 16  # losses before any is judged
SIGMA = 1.4826  # times the median distance from the median: the standard deviation, where noise is normal
LEAST = 1e-3  # of the median: no noise is smaller


@dataclass(frozen=True)
class Rewind:
    """Holds one return to a checkpoint. step: that leapt, counted from 1. back_to: the checkpoint's."""

    step: int
    back_to: int
    why: str

    def told(self) -> str:
        """Says what was done, as text."""
        return f"step {self.step}: {self.why}; went back to step {self.back_to}, and on with the text behind step {self.step}"


class LossSpikes:
    """Judges each step's loss by those before it: median, and median distance from it. All ranks judge alike.

    The losses that it remembers go into checkpoints, so that a run that goes on judges as it would have.
    """

    def __init__(self, watch: WatchSection):
        self.watch = watch
        self.losses: deque[float] = deque(maxlen=watch.spike_window)
        self.count = 0  # spikes so far
        self.rewinds: list[Rewind] = []

    @property
    def rewinds_asked(self) -> bool:
        """Tells whether a spike is answered by going back."""
        return self.watch.spike == "rewind"

    def judge(self, loss: float, squared_norm: float) -> str | None:
        """Says why a step's loss is a spike; None for one that is none, which is remembered."""
        if self.watch.spike == "none":
            return None
        if not (math.isfinite(loss) and math.isfinite(squared_norm)):
            return f"the loss is {loss:.4g} and the gradient's norm {math.sqrt(max(0.0, squared_norm)):.4g}"
        if len(self.losses) >= FEWEST:
            middle = median(self.losses)
            noise = max(SIGMA * median(abs(each - middle) for each in self.losses), LEAST * abs(middle))
            if loss > middle + self.watch.spike_noise * noise:
                return (
                    f"the loss is {loss:.4f}, {(loss - middle) / noise:.1f} units of noise above {middle:.4f}, the median of "
                    f"{len(self.losses)} steps before"
                )
        self.losses.append(loss)
        return None

    def counted(self, step: int, why: str) -> None:
        """Counts a spike. Raises PinisiError where there were as many as may be."""
        if self.count >= self.watch.most_spikes:
            raise PinisiError(
                f"step {step}: {why}; there were {self.count} spikes before, and watch.most_spikes = {self.watch.most_spikes}: "
                "lower the learning rate, look at the data there (`pinisi inspect`), or allow more"
            )
        self.count += 1

    def forget(self) -> None:
        """Forgets the losses before: a phase with other text has losses of its own."""
        self.losses.clear()

    def rewound(self, event: Rewind, saved: Mapping[str, Any] | None) -> None:
        """Goes back to the losses of a checkpoint, but remembers the spike."""
        self.rewinds.append(event)
        self.losses = deque((saved or {}).get("losses", ()), maxlen=self.watch.spike_window)

    def state(self) -> dict[str, Any]:
        """Returns all that `restore` needs, as JSON."""
        return {
            "losses": list(self.losses),
            "count": self.count,
            "rewinds": [asdict(event) for event in self.rewinds],
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Goes on where `state` was taken; None: a checkpoint of before there was any."""
        if state is not None:
            self.losses = deque(state["losses"], maxlen=self.watch.spike_window)
            self.count, self.rewinds = state["count"], [Rewind(**event) for event in state["rewinds"]]
