"""Makes a long step out of a short one: the middle of a good table repeats itself.

What each rank has done when some moment comes is a state: how many microbatches of each type of pass. Where the passes that
every rank runs next take the state to the same one `period` microbatches later, they can run again from there, and again,
because a pass waits for passes of its own microbatch only; then comes what came behind them. So the longer table can be
run, holds no more than the short one, and takes the time of the repeated part more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from pinisi.schedule.collector import collector_paused
from pinisi.schedule.costs import NOMINAL
from pinisi.schedule.needs import gives
from pinisi.schedule.replay import replay
from pinisi.schedule.table import Kind, Pass, Schedule

LARGE = 4096  # ranks x microbatches; for more the first good table must do
_PERIODS = (1, 2, 3)  # filling may take turns
_TRIES = 24  # moments at which the repeated part may begin


def of_any_length(
    make: Callable[[int], Schedule], ranks: int, microbatches: int, period: int = 1
) -> Schedule:
    """make(microbatches), or for a large table what is made of make(fewer), which takes a fraction of the time.

    period: microbatches after which rows repeat.
    """
    enough, whole = 3 * ranks + 16 + 2 * (period - 1), period * math.lcm(*_PERIODS)
    if ranks * microbatches <= LARGE or microbatches < enough + 2 * whole:
        return make(microbatches)
    short = make(enough + (microbatches - enough) % whole)
    longer = (extended(short, microbatches, period * times) for times in _PERIODS)
    return next((schedule for schedule in longer if schedule is not None), None) or make(microbatches)


@collector_paused()
def extended(schedule: Schedule, microbatches: int, period: int = 1) -> Schedule | None:
    """The table with so many microbatches, more than it has by a multiple of `period`; None if its middle doesn't repeat.

    Of the moments that will do one is chosen whose repeated part takes an interval, or else the least time.
    """
    extra = microbatches - schedule.microbatches
    assert extra > 0 and extra % period == 0
    costs = (schedule.costs or NOMINAL).positive(schedule.layout)
    run = replay(schedule, costs)
    starts = [[*(run.started[p] for p in row), run.makespan] for row in run.rows]
    interval = costs.busiest(schedule.layout) * period
    best: tuple[float, list[tuple[int, int]]] | None = None
    for k in range(_TRIES):  # from the middle outwards
        moment = run.makespan * (0.5 + (-1) ** k * 0.2 * k / _TRIES)
        parts = _parts(schedule, starts, moment, period)
        if parts is None:
            continue
        seconds = max(begun[end] - begun[start] for begun, (start, end) in zip(starts, parts, strict=True))
        if best is None or seconds < best[0] * (1 - 1e-9):
            best = seconds, parts
        if seconds <= interval * 1.0001:
            break
    if best is None:
        return None
    order = tuple(
        _repeated(row, start, end, period, extra // period)
        for row, (start, end) in zip(schedule.order, best[1], strict=True)
    )
    return replace(schedule, microbatches=microbatches, order=order)


def _parts(
    schedule: Schedule, starts: list[list[float]], moment: float, period: int
) -> list[tuple[int, int]] | None:
    """On each rank the part from `moment` on that repeats itself."""
    parts = []
    for row, begun in zip(schedule.order, starts, strict=True):
        start = bisect_left(begun, moment, hi=len(row))
        end = _repeats(row, start, period)
        if end is None:
            return None
        parts.append((start, end))
    return parts


def _repeats(row: tuple[Pass, ...], start: int, period: int) -> int | None:
    """Where the part from `start` on ends that takes the rank to the same state `period` microbatches later."""
    done: Counter[tuple[Kind, int]] = Counter()
    highest: dict[tuple[Kind, int], int] = {}
    for p in row[:start]:
        _count(p, done, highest)
    if any(highest[key] + 1 != count for key, count in done.items()):
        return None  # a microbatch was left out
    wanted = {key: count + period for key, count in done.items()}
    missing = period * len(wanted)
    for at in range(start, len(row)):
        for kind, part, i in gives(row[at]):
            if kind is Kind.BW:
                continue
            if not done[kind, part] <= i < wanted.get((kind, part), 0):
                return None
            missing -= 1
        if not missing:
            return at + 1
    return None


def _count(p: Pass, done: Counter[tuple[Kind, int]], highest: dict[tuple[Kind, int], int]) -> None:
    for kind, part, i in gives(p):
        if kind is not Kind.BW:
            done[kind, part] += 1
            highest[kind, part] = max(i, highest.get((kind, part), i))


def _repeated(row: tuple[Pass, ...], start: int, end: int, period: int, times: int) -> tuple[Pass, ...]:
    def later(passes: tuple[Pass, ...], by: int) -> list[Pass]:
        return [Pass(kind, part, i + by) for kind, part, i in passes]

    result = list(row[:end])
    for k in range(1, times + 1):
        result += later(row[start:end], k * period)
    return (*result, *later(row[end:], times * period))
