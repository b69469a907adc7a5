"""Makes a long step out of a short one: the middle of a good table repeats itself.

What each rank has done when some moment comes is a state: how many microbatches of each type of pass. Where the passes that
every rank runs next take the state to the same one `period` microbatches later, they can run again from there, and again,
because a pass waits for passes of its own microbatch only; then comes what came behind them. So the longer table can be
run, holds no more than the short one, and takes the time of the repeated part more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from pinisi.schedule.costs import NOMINAL
from pinisi.schedule.execution.replay import replay
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.needs import gives
from pinisi.schedule.table import Kind, Pass, Schedule

LARGE = 4096  # ranks x microbatches; for more the first good table must do
_TURNS = (1, 2, 3, 4, 6)  # filling may take turns among so many microbatches
_TRIES = 24  # moments at which the repeated part may begin


def of_any_length(
    make: Callable[[int], Schedule], ranks: int, microbatches: int, period: int = 1
) -> Schedule:
    """make(microbatches), or for a large table what is made of make(fewer), which takes a fraction of the time.

    period: microbatches after which rows repeat.
    """
    turns = _TURNS if period == 1 else (1,)
    enough, whole = 3 * ranks + 16 + 2 * (period - 1), period * math.lcm(*turns)
    if ranks * microbatches <= LARGE or microbatches < enough + 2 * whole:
        return make(microbatches)
    short = make(enough + (microbatches - enough) % whole)
    return extended(short, microbatches, [period * n for n in turns]) or make(microbatches)


@gc_disabled()
def extended(schedule: Schedule, microbatches: int, periods: Sequence[int] = (1,)) -> Schedule | None:
    """The table with so many microbatches, more than it has by a multiple of each period; None if its middle doesn't repeat.

    Of the moments and periods that will do one is chosen whose repeated part takes no longer than intervals, or else the
    least time a microbatch.
    """
    extra = microbatches - schedule.microbatches
    assert extra > 0 and not any(extra % period for period in periods)
    costs = (schedule.costs or NOMINAL).positive(schedule.layout)
    run = replay(schedule, costs)
    starts = [[*(run.started[p] for p in row), run.makespan] for row in run.rows]
    counts = [_Counts(row) for row in schedule.order]
    best: tuple[float, int, list[tuple[int, int]]] | None = None
    for k in range(_TRIES):  # from the middle outwards
        moment = run.makespan * (0.5 + (-1) ** k * 0.2 * k / _TRIES)
        for period in periods:
            parts = _parts(counts, starts, moment, period)
            if parts is None:
                continue
            longest = max(
                begun[end] - begun[start] for begun, (start, end) in zip(starts, parts, strict=True)
            )
            if best is None or longest / period < best[0] * (1 - 1e-9):
                best = longest / period, period, parts
        if best is not None and best[0] <= costs.busiest(schedule.layout) * 1.0001:
            break
    if best is None:
        return None
    _, period, parts = best
    order = tuple(
        _repeated(row, start, end, period, extra // period)
        for row, (start, end) in zip(schedule.order, parts, strict=True)
    )
    return replace(schedule, microbatches=microbatches, order=order)


def _parts(
    counts: list[_Counts], starts: list[list[float]], moment: float, period: int
) -> list[tuple[int, int]] | None:
    """On each rank the part from `moment` on that repeats itself."""
    parts = []
    for row, begun in zip(counts, starts, strict=True):
        start = bisect_left(begun, moment, hi=len(begun) - 1)
        end = row.repeats(start, period)
        if end is None:
            return None
        parts.append((start, end))
    return parts


class _Counts:
    """Where in a row the passes of each type stand; a BW counts as B and as W."""

    def __init__(self, row: tuple[Pass, ...]) -> None:
        self._steps: dict[tuple[Kind, int], list[int]] = defaultdict(list)
        self._highest: dict[tuple[Kind, int], list[int]] = defaultdict(list)  # microbatch up to there
        for step, p in enumerate(row):
            for kind, part, i in gives(p):
                if kind is not Kind.BW:
                    self._steps[kind, part].append(step)
                    highest = self._highest[kind, part]
                    highest.append(max(i, highest[-1]) if highest else i)

    def _done(self, step: int) -> list[int] | None:
        """How many microbatches of each type have run before a step, None if they aren't the first ones."""
        done = []
        for key, steps in self._steps.items():
            count = bisect_left(steps, step)
            if count and self._highest[key][count - 1] != count - 1:
                return None
            done.append(count)
        return done

    def repeats(self, start: int, period: int) -> int | None:
        """Where the part from `start` on ends that takes the rank to the same state `period` microbatches later."""
        before = self._done(start)
        if before is None:
            return None
        after = [count + period for count in before]
        ends = zip(after, self._steps.values(), strict=True)
        if any(count > len(steps) for count, steps in zip(after, self._steps.values(), strict=True)):
            return None
        end = max(steps[count - 1] for count, steps in ends) + 1
        return end if self._done(end) == after else None


def _repeated(row: tuple[Pass, ...], start: int, end: int, period: int, times: int) -> tuple[Pass, ...]:
    new = tuple.__new__  # takes half the time of Pass(...), and there are hundreds of thousands of them

    def later(passes: tuple[Pass, ...], by: int) -> list[Pass]:
        return [new(Pass, (kind, part, i + by)) for kind, part, i in passes]

    result = list(row[:end])
    for k in range(1, times + 1):
        result += later(row[start:end], k * period)
    return (*result, *later(row[end:], times * period))
