"""Counts the bytes on each rank over a step, by part, from a Timeline.

Always held: weights, gradients, optimizer, messages, library buffers. What comes and goes: activations of a stage from its F
to its last backward pass; an undivided head's logits with them; a shard's exponentials, X and A from S to T; what a pass
needs while it runs (a layer's gradients, logits in fp32, a dense gradient of the vocabulary).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from pinisi.costs.hardware import Hardware
from pinisi.costs.shape import Shape
from pinisi.costs.split import with_heads
from pinisi.costs.work import (
    LOGITS_BACKWARD_PEAK,
    LOGITS_FORWARD_PEAK,
    SHARD_PEAK,
    Setting,
    head_columns,
    kept,
    shared_bytes,
)
from pinisi.schedule import Kind, Layout, Timeline

_LOGITS_KEPT = 4.0  # bytes per logit of an undivided head between F and BW: the softmax in fp32
_WORKING = 7  # numbers per token and hidden unit that a layer's backward holds beside: two of 4h less what it replaces
_BACKWARD = (Kind.B, Kind.W, Kind.BW)


@dataclass(frozen=True)
class RankMemory:
    """parts: bytes by part at the moment of the peak. curve: (seconds, bytes), each value until the next;
    what a pass takes and gives back at its very end shows as two points of one moment."""

    parts: dict[str, float]
    curve: tuple[tuple[float, float], ...]

    @property
    def peak(self) -> float:
        return sum(self.parts.values())


def parameters_of(shape: Shape, layout: Layout, layers: Sequence[int], rows: Sequence[int]) -> list[float]:
    """Parameters of each rank; with 0 barriers a tied matrix stands on both ends, once if they are one rank."""
    n = with_heads(layers, shape.extra_heads)
    found = [float(shape.layer_parameters * sum(n[s] for s in stages)) for stages in layout.stages]
    found[layout.first_rank] += shape.positions * shape.hidden
    found[layout.last_rank] += shape.final_norm
    ends = 1 if shape.tied else 2
    if layout.barriers:
        return [n + ends * r * shape.hidden for n, r in zip(found, rows, strict=True)]
    found[layout.first_rank] += shape.vocabulary_parameters
    if layout.first_rank != layout.last_rank or not shape.tied:
        found[layout.last_rank] += shape.vocabulary_parameters
    return found


def rank_memory(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    timeline: Timeline,
    layers: Sequence[int],
    rows: Sequence[int],
) -> list[RankMemory]:
    """Memory of every rank. layers[stage], rows[rank]: how many each holds."""
    layout = timeline.schedule.layout
    starts = list(accumulate(layers, initial=0))
    stages = [
        _stage_bytes(shape, setting, range(starts[s], starts[s + 1]), s == layout.last_stage)
        for s in range(layout.last_stage + 1)
    ]
    held = parameters_of(shape, layout, layers, rows)
    found = []
    for rank, spans in enumerate(timeline.spans):
        events = _Events(shape, setting, layout, stages, rows[rank], hardware.device)
        for span in spans:
            events.add(span.pass_.kind, span.pass_.part, span.pass_.microbatch, span.start, span.end)
        always = {
            "weights": held[rank] * setting.element,
            "gradients": held[rank] * setting.gradient,
            "optimizer": held[rank] * setting.state / setting.owners,
            "messages": _message_bytes(shape, setting, layout),
            "workspace": hardware.efficiency.workspace,
        }
        found.append(_summed(always, events.changes()))
    return found


def _stage_bytes(shape: Shape, setting: Setting, layers: range, last: bool) -> float:
    """Kept by one microbatch on a stage: its layers, its input and output, on the last stage the final norm's too."""
    t, h, e = setting.tokens, shape.hidden, setting.element
    found = sum(sum(kept(shape, setting, layer).values()) for layer in layers) + t * h * e
    if last:  # extra heads, and every output's final norm
        found += shape.extra_heads * sum(kept(shape, setting, shape.layers - 1).values())
        found += shape.outputs * t * h * (4 + e)
    return found + shared_bytes(shape, setting)


def working_bytes(shape: Shape, setting: Setting) -> float:
    """Bytes that a layer's backward takes while it runs: gradients, and what is computed again."""
    found = float(_WORKING * setting.tokens * shape.hidden * setting.element)
    if setting.recompute:
        found += sum(kept(shape, replace(setting, recompute=False)).values())
    return found


def _message_bytes(shape: Shape, setting: Setting, layout: Layout) -> float:
    if layout.ranks == 1:
        return 0.0
    hidden = float(setting.tokens * shape.hidden)
    x = shape.outputs * hidden if layout.barriers else 0.0
    return 2 * hidden * setting.element + x * (setting.element + 4)


class _Events:
    """Collects what passes of one rank take and give back."""

    def __init__(
        self,
        shape: Shape,
        setting: Setting,
        layout: Layout,
        stages: Sequence[float],
        rows: int,
        device: str,
    ) -> None:
        self._columns = head_columns(shape, setting, rows, device)  # kept, worked on
        self.shape, self.setting, self.layout, self.stages, self.rows = shape, setting, layout, stages, rows
        # (seconds, turn, part, bytes): at one time what is given back (0) comes before what is taken (1, 2)
        self._list: list[tuple[float, int, str, float]] = []
        self._alive: dict[tuple[int, int], tuple[float, float]] = {}  # (stage, microbatch) -> start, last end
        self._head: dict[int, float] = {}  # microbatch -> S's start

    def add(self, kind: Kind, part: int, microbatch: int, start: float, end: float) -> None:
        t, h, e = self.setting.tokens, self.shape.hidden, self.setting.element
        n = t * self.shape.outputs
        if kind is Kind.F:
            self._alive[part, microbatch] = (start, end)
            if self._undivided(part):
                self._during(
                    start, end, "logits", (LOGITS_FORWARD_PEAK - _LOGITS_KEPT) * n * self.shape.vocabulary
                )
        elif kind in _BACKWARD:
            first = self._alive.get((part, microbatch), (start, start))[0]
            self._alive[part, microbatch] = (first, end)
            self._during(start, end, "activations", working_bytes(self.shape, self.setting))
            if self._undivided(part) and kind is not Kind.W:
                extra = (LOGITS_BACKWARD_PEAK - _LOGITS_KEPT) * n * self.shape.vocabulary
                self._during(start, end, "logits", extra + e * self.shape.vocabulary_parameters)
            if part == 0 and not self.layout.barriers and kind is not Kind.W:
                self._after(end, "logits", float(e * self.shape.vocabulary_parameters))
        elif kind is Kind.S:
            self._head[microbatch] = start
            self._during(start, end, "vocabulary", self._shard_work())
        elif kind is Kind.T:
            self._during(start, end, "vocabulary", self._shard_work())
            columns, _ = self._columns
            buffers = e * n * columns + n * h * (e + (4 if self.layout.barriers == 1 else 0))
            self._during(self._head.get(microbatch, start), end, "vocabulary", buffers)
        elif kind is Kind.G and self.setting.dense:
            self._during(start, end, "vocabulary", float(e * self.rows * h))

    def changes(self) -> list[tuple[float, int, str, float]]:
        for (stage, _), (start, end) in self._alive.items():
            self._during(start, end, "activations", self.stages[stage])
            if self._undivided(stage):
                logits = self.setting.tokens * self.shape.outputs * self.shape.vocabulary
                self._during(start, end, "logits", _LOGITS_KEPT * logits)
        return sorted(self._list)

    def _shard_work(self) -> float:
        """What S and T hold while they run, beside what is kept between them."""
        kept_columns, working = self._columns
        n, e = self.setting.tokens * self.shape.outputs, self.setting.element
        wide = kept_columns if kept_columns == self.rows else working
        return e * n * working + (SHARD_PEAK - e) * n * wide

    def _undivided(self, stage: int) -> bool:
        return not self.layout.barriers and stage == self.layout.last_stage

    def _during(self, start: float, end: float, part: str, size: float) -> None:
        self._list += [(start, 1, part, size), (end, 0, part, -size)]

    def _after(self, time: float, part: str, size: float) -> None:
        """Taken and given back at one moment, when the pass has given back the rest."""
        self._list += [(time, 2, part, size), (time, 3, part, -size)]


def _summed(always: dict[str, float], changes: list[tuple[float, int, str, float]]) -> RankMemory:
    now = {"activations": 0.0, "logits": 0.0, "vocabulary": 0.0}
    base, total = sum(always.values()), 0.0
    peak, parts = -1.0, dict(now)
    curve: list[tuple[float, float]] = [(0.0, base)]
    for time, turn, part, size in changes:
        now[part] += size
        total += size
        if total > peak:
            peak, parts = total, dict(now)
        if curve[-1][0] == time and turn < 2:
            curve.pop()  # what is given back and what is taken at one moment is one change
        curve.append((time, base + total))
    return RankMemory({**always, **parts}, tuple(curve))
