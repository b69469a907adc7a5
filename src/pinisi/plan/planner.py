"""Finds the best way of running a model: simulates and ranks every schedule, barriers, split and number of microbatches.

A candidate's time can't be less than its bound. So candidates are simulated in the order of their bounds, the best of each
schedule first, and those whose bound is above the best time found are set aside: they stand in the ranking as "bounded".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pinisi.base.errors import ConfigError, ScheduleError
from pinisi.costs.hardware import GIB
from pinisi.costs.memory import RankMemory, parameters_of, rank_memory
from pinisi.costs.overlap import step_with_sums
from pinisi.costs.pass_costs import mfu
from pinisi.costs.work import kept
from pinisi.plan.candidates import (
    Candidate,
    Refused,
    Request,
    candidates,
    open_chunks,
    recomputing,
    setting_of,
    under,
)
from pinisi.schedule import Kind, Pass, Timeline, build, simulate
from pinisi.schedule.search import search

Progress = Callable[[int, int, str], None]


@dataclass
class PlanRow:
    """A candidate and what is predicted of it; of one that was not simulated (status "bounded") only the bound is known.

    why: what does not fit, or why it was not simulated. step: seconds. peaks: bytes by rank. searched: the order is not the
    schedule's own, but one found for these costs.
    """

    candidate: Candidate
    status: str  # fits, too large, bounded, not simulated
    why: str = ""
    step: float = 0.0
    tokens_per_second: float = 0.0
    mfu: float = 0.0
    bubble: float = 0.0  # mean over ranks
    memory: list[RankMemory] = field(default_factory=list)
    timeline: Timeline | None = None
    searched: bool = False
    needed: float = (
        0.0  # bytes that the fullest rank needs at least, of one that was not simulated for want of memory
    )

    @property
    def peaks(self) -> list[float]:
        return [m.peak for m in self.memory]

    @property
    def distance(self) -> float:
        """The step's time above the bound, as a share of the bound."""
        # a step that is its bound may come out a rounding below it
        return max(0.0, self.step / self.candidate.bound - 1) if self.step else 0.0


@dataclass(frozen=True)
class Plan:
    """rows: those that fit by tokens per second, then those that were set aside by bound, then those too large.
    refused: (what, why) of combinations that can't be built."""

    request: Request
    rows: list[PlanRow]
    refused: list[tuple[str, str]]
    seconds: float


def make_plan(request: Request, progress: Progress | None = None) -> Plan:
    """Ranks all candidates, and searches orders for the best of them if asked to; raises ConfigError or ScheduleError where
    not a single one can be built."""
    began = time.monotonic()
    refused: Refused = []
    rows: list[PlanRow] = []
    queue = _ordered(list(_that_may_fit(request, list(candidates(request, refused)), rows)))
    if not queue and not rows:
        why = refused[0][1] if refused else "no schedule is named"
        raise ConfigError(f"nothing can be planned for {request.ranks} ranks: {why}")
    clock, best = _PlanClock(request.seconds, began), 0.0
    while queue:
        candidate = queue.pop(0)
        if (aside := _set_aside(request, candidate, best, clock)) is not None:
            rows.append(PlanRow(candidate, *aside))
            continue
        if progress is not None:
            progress(len(rows), len(rows) + len(queue) + 1, candidate.label)
        with clock.timed(candidate):
            row = _simulated(request, candidate, refused)
        if row is None:
            continue
        rows.append(row)
        if row.status == "fits":
            best = max(best, row.tokens_per_second)
        elif not candidate.recompute:
            queue.append(recomputing(request, candidate))
    if not rows:
        raise ScheduleError(f"no schedule can be built: {refused[0][0]}: {refused[0][1]}")
    rows.sort(key=_rank)
    best_rows = [row for row in rows[: request.searches] if row.status == "fits"]
    for at, row in enumerate(best_rows):
        if progress is not None:
            progress(at, len(best_rows), f"search: {row.candidate.label}")
        rows += _searched(request, row)
    rows.sort(key=_rank)
    return Plan(request, rows, refused, time.monotonic() - began)


def _rank(row: PlanRow) -> tuple[int, float]:
    """Those that fit by tokens per second, then the others by their bound."""
    order = {"fits": 0, "bounded": 1, "not simulated": 1, "too large": 2}[row.status]
    return order, -row.tokens_per_second if row.status == "fits" else _per_token(row.candidate)


def _searched(request: Request, row: PlanRow) -> Iterator[PlanRow]:
    """The row with an order found for its costs, if that is faster: T's and other passes that nobody waits for fill bubbles.

    Each T put off holds one more buffer of logits, so fewer are put off where memory ends.
    """
    c = row.candidate
    for heads in (None, 8, 4, 2) if c.barriers else (None,):
        try:
            found = search(
                c.name,
                c.ranks,
                c.microbatches,
                c.costs,
                chunks=open_chunks(c),
                barriers=c.barriers,
                heads=heads,
            )
        except ScheduleError:
            return  # not with so few heads
        better = _predicted(request, c, simulate(found.schedule, c.costs))
        if better.status == "fits":
            better.searched = True
            if better.step < row.step * (1 - 1e-6):
                yield better
            return


class _PlanClock:
    """Keeps a plan's time: how long a candidate will take follows from its passes and from those before."""

    def __init__(self, seconds: float, began: float) -> None:
        self.seconds, self.began = seconds, began
        self.spent, self.passes = 0.0, 0

    @contextmanager
    def timed(self, c: Candidate) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.spent += time.monotonic() - start
        self.passes += _passes(c)

    def has_time_for(self, c: Candidate, share: float) -> bool:
        """Whether it is done within `share` of the time; the first one always is tried."""
        if not self.passes:
            return True
        needed = self.spent / self.passes * _passes(c)
        return time.monotonic() - self.began + needed <= self.seconds * share


def _passes(c: Candidate) -> int:
    return c.ranks * c.microbatches * (3 * c.chunks + (4 if c.barriers else 0))


def _set_aside(request: Request, c: Candidate, best: float, clock: _PlanClock) -> tuple[str, str] | None:
    """(status, why) of a candidate that is not worth its simulation, or None. best: tokens per second so far.

    Where nothing has fitted yet the search takes twice its time.
    """
    if best and request.setting.tokens * c.whole_step / c.bound <= best:
        return "bounded", f"can't be better: its bound is {c.bound:.4g} s a step"
    if not clock.has_time_for(c, 1 if best else 2):
        return "not simulated", f"no time for it in the plan's {request.seconds:g} s (--seconds)"
    return None


def _that_may_fit(request: Request, given: list[Candidate], rows: list[PlanRow]) -> Iterator[Candidate]:
    """Leaves out what holds too much even without vocabulary passes, and takes its recomputing form instead."""
    alive: dict[tuple[str, int, int, int], list[float]] = {}
    for c in given:
        key = (c.name, c.chunks, c.ranks, min(c.microbatches, 2 * c.ranks))
        if key not in alive:
            alive[key] = _alive(c, key[3])
        for form in (c,) if c.recompute else (c, recomputing(request, c)):
            least = _least_memory(request, form, alive[key])
            worst = max(range(c.ranks), key=lambda rank: least[rank])
            if least[worst] <= request.room:
                yield form
                break
            why = f"rank {worst} needs at least {least[worst] / GIB:.1f} GiB of {request.room / GIB:.1f}"
            rows.append(PlanRow(form, "too large", why, needed=least[worst]))


def _alive(c: Candidate, microbatches: int) -> list[float]:
    """Per rank the most microbatches alive without vocabulary passes, which only add to them."""
    try:
        schedule = build(c.name, c.layout.ranks, microbatches, chunks=open_chunks(c))
    except ScheduleError:  # there is none without them
        try:
            schedule = build(c.name, c.layout.ranks, microbatches, chunks=open_chunks(c), barriers=c.barriers)
        except ScheduleError:  # nor with so few microbatches
            return [0.0] * c.layout.ranks
    return [
        _most_alive(order) / len(stages)
        for order, stages in zip(schedule.order, c.layout.stages, strict=True)
    ]


def _most_alive(order: Sequence[Pass]) -> int:
    """The most stages' activations between F and the last backward pass, from the order alone."""
    ends = {(p.part, p.microbatch): at for at, p in enumerate(order) if p.kind in (Kind.B, Kind.W, Kind.BW)}
    last = set(ends.values())
    now = most = 0
    for at, p in enumerate(order):
        now += (p.kind is Kind.F) - (at in last)
        most = max(most, now)
    return most


def _least_memory(request: Request, c: Candidate, alive: Sequence[float]) -> list[float]:
    setting = setting_of(request, c.layout, c.recompute, c.replicas)
    held = parameters_of(request.shape, c.layout, c.layers, c.rows)
    layer = sum(kept(request.shape, setting).values())
    layers = [sum(c.layers[s] for s in stages) for stages in c.layout.stages]
    return [n * setting.held + a * k * layer for n, a, k in zip(held, alive, layers, strict=True)]


def _per_token(candidate: Candidate) -> float:
    return candidate.bound / candidate.whole_step


def _ordered(given: list[Candidate]) -> list[Candidate]:
    """By bound per token, but the best of each schedule and barriers before the second of any."""
    given.sort(key=_per_token)
    seen: dict[tuple[str, int], int] = {}
    turns: list[tuple[int, int, Candidate]] = []
    for candidate in given:
        key = (candidate.name, candidate.barriers)
        turns.append((seen.get(key, 0), len(turns), candidate))
        seen[key] = seen.get(key, 0) + 1
    return [candidate for *_, candidate in sorted(turns, key=lambda t: t[:2])]


def with_attention(request: Request, row: PlanRow, attention: str) -> PlanRow | None:
    """Returns what is predicted of a row if another backend computed its attention; None where it can't be built."""
    asked = replace(request, setting=replace(request.setting, attention=attention))
    return _simulated(asked, under(asked, row.candidate), [])


def _simulated(request: Request, c: Candidate, refused: Refused) -> PlanRow | None:
    try:
        schedule = build(
            c.name, c.ranks, c.microbatches, chunks=open_chunks(c), barriers=c.barriers, costs=c.costs
        )
        return _predicted(request, c, simulate(schedule, c.costs))
    except ScheduleError as error:
        refused.append((f"{c.label}, {c.microbatches} microbatches", str(error)))
        return None


def _predicted(request: Request, c: Candidate, timeline: Timeline) -> PlanRow:
    setting = setting_of(request, c.layout, c.recompute, c.replicas)
    shape, hardware, ranks = request.shape, request.hardware, c.ranks
    memory = rank_memory(shape, setting, hardware, timeline, c.layers, c.rows)
    step = step_with_sums(shape, setting, hardware, timeline, c.layers, c.rows, c.replicas)
    fullest = max(range(ranks), key=lambda rank: memory[rank].peak)
    fits = memory[fullest].peak <= request.room
    return PlanRow(
        c,
        "fits" if fits else "too large",
        "" if fits else too_large(request, fullest, memory[fullest]),
        step,
        setting.tokens * c.whole_step / step,
        mfu(shape, setting, c.whole_step, ranks * c.replicas, step, hardware.rate(setting.dtype)),
        sum(timeline.bubble(rank) for rank in range(ranks)) / ranks,
        memory,
        timeline,
    )


def too_large(request: Request, rank: int, memory: RankMemory) -> str:
    """What does not fit, in one line."""
    parts = sorted(memory.parts.items(), key=lambda item: -item[1])[:3]
    largest = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts)
    return f"rank {rank} needs {memory.peak / GIB:.1f} GiB of {request.room / GIB:.1f} ({largest})"


def row_dict(row: PlanRow) -> dict[str, Any]:
    """Plain values of a row, ready for JSON; times in seconds, memory in GiB."""
    c = row.candidate
    known = bool(row.memory)
    return {
        "status": row.status,
        "why": row.why,
        "schedule": c.name,
        "searched": row.searched,
        "barriers": c.barriers,
        "ranks": c.ranks,
        "replicas": c.replicas,
        "chunks": c.chunks,
        "split": c.split,
        "layers": list(c.layers),
        "rows_split": c.rows_split,
        "rows": list(c.rows),
        "microbatches": c.microbatches,
        "microbatches_of_step": c.whole_step,
        "recompute": "full" if c.recompute else "none",
        "bound_s": c.bound,
        "step_s": row.step if known else None,
        "tokens_per_s": row.tokens_per_second if known else None,
        "mfu_percent": 100 * row.mfu if known else None,
        "bubble_percent": 100 * row.bubble if known else None,
        "above_bound_percent": 100 * row.distance if known else None,
        "peak_gb_per_rank": [peak / GIB for peak in row.peaks],
        "parts_gb_per_rank": [{k: v / GIB for k, v in m.parts.items()} for m in row.memory],
    }
