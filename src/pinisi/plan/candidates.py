"""Lists every way of running a step that a plan compares: replicas x schedule x barriers x layers x rows x microbatches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pinisi.base.errors import ConfigError, ScheduleError
from pinisi.costs.hardware import Hardware
from pinisi.costs.pass_costs import pass_costs, sums_and_update
from pinisi.costs.rates import rates_of
from pinisi.costs.shape import Shape
from pinisi.costs.split import even_layers, megatron_layers, placed_layers, rows_for, with_heads
from pinisi.costs.work import Setting
from pinisi.schedule import Costs, Layout, build, layout_of, names
from pinisi.schedule.search import lower_bound

Refused = list[tuple[str, str]]


@dataclass(frozen=True)
class Candidate:
    """One way of running a step: `replicas` pipelines of layout.ranks side by side, each with `microbatches`.

    split: how layers were shared out: even, best, megatron. rows_split: even or balanced.
    """

    name: str
    barriers: int
    chunks: int
    split: str
    rows_split: str
    replicas: int
    microbatches: int  # of each pipeline
    recompute: bool
    layout: Layout
    layers: tuple[int, ...]
    rows: tuple[int, ...]
    costs: Costs
    end: float  # seconds of the optimizer, which no pass covers
    bound: float  # seconds below which its step can't be

    @property
    def ranks(self) -> int:
        """Of one pipeline."""
        return self.layout.ranks

    @property
    def whole_step(self) -> int:
        """Microbatches of a step over all replicas."""
        return self.replicas * self.microbatches

    @property
    def label(self) -> str:
        words = [self.name, f"{self.barriers} barriers" if self.barriers != 1 else "1 barrier"]
        words += [f"{self.chunks} chunks"] if self.chunks > 2 else []
        words += [f"{self.replicas} replicas"] if self.replicas > 1 else []
        return ", ".join([*words, f"{self.split} layers"])


@dataclass(frozen=True)
class Request:
    """What is to be planned. ranks: all devices. replicas: how many pipelines side by side to try, each of
    ranks / replicas ranks. microbatches: of a whole step, numbers to try; the replicas share them. limit: bytes that a
    rank may have; the hardware's if None."""

    shape: Shape
    setting: Setting
    hardware: Hardware
    ranks: int
    microbatches: tuple[int, ...]
    limit: float | None = None
    schedules: tuple[str, ...] = ()  # all that are known if empty
    barriers: tuple[int, ...] = (0, 1, 2)
    replicas: tuple[int, ...] = (1,)
    seconds: float = 20.0  # after which no further candidate is simulated
    sharded: bool = False  # the optimizer is shared out over the replicas
    searches: int = 0  # of the best candidates, for how many an order of their own is searched

    @property
    def room(self) -> float:
        usable = self.hardware.usable
        return usable if self.limit is None else min(self.limit, usable)


def candidates(request: Request, refused: Refused) -> Iterator[Candidate]:
    """All that can be built; what can't is added to `refused` as (what, why)."""
    for replicas in request.replicas:
        if replicas < 1 or request.ranks % replicas:
            why = f"{request.ranks} ranks can't be {replicas} pipelines of the same length"
            refused.append((f"{replicas} replicas", why))
            continue
        ranks = request.ranks // replicas
        counts = [m // replicas for m in request.microbatches if m % replicas == 0]
        for m in request.microbatches:
            if m % replicas:
                refused.append((f"{replicas} replicas", f"they can't share {m} microbatches evenly"))
        if not counts:
            continue
        for name in _names(request, ranks):
            for chunks in _chunks(name, request.shape, ranks):
                for barriers in request.barriers:
                    yield from _of_schedule(request, name, ranks, replicas, chunks, barriers, counts, refused)


def _names(request: Request, ranks: int) -> Sequence[str]:
    """On one rank all schedules do the same: one is enough."""
    asked = request.schedules or names()
    if ranks > 1:
        return asked
    return [next((name for name in ("1f1b", "gpipe") if name in asked), asked[0])]


def _of_schedule(
    request: Request,
    name: str,
    ranks: int,
    replicas: int,
    chunks: int | None,
    barriers: int,
    counts: Sequence[int],
    refused: Refused,
) -> Iterator[Candidate]:
    try:
        build(name, 2, 8, chunks=chunks, barriers=barriers)  # some have no form for some barriers
        layout = layout_of(name, ranks, chunks=chunks, barriers=barriers)
        splits = dict(_splits(request, layout))
    except (ConfigError, ScheduleError) as error:
        refused.append((f"{name}, {barriers} barriers, {ranks} ranks", str(error)))
        return
    for split, layers in splits.items():
        for rows_split, rows in _rows(request, layout, layers):
            for m in counts:
                yield _candidate(
                    request,
                    name=name,
                    barriers=barriers,
                    chunks=len(layout.stages[0]),
                    split=split,
                    rows_split=rows_split,
                    replicas=replicas,
                    microbatches=m,
                    recompute=request.setting.recompute,
                    layout=layout,
                    layers=tuple(layers),
                    rows=tuple(rows),
                )


def _chunks(name: str, shape: Shape, ranks: int) -> list[int | None]:
    """The schedule's own number, and for one that leaves it open 4 where there are layers for it."""
    own = len(layout_of(name, ranks).stages[0])
    try:
        layout_of(name, ranks, chunks=2 * own)
    except ScheduleError:
        return [None]
    return [None, 2 * own] if 2 * own * ranks <= shape.layers and own > 1 else [None]


def open_chunks(c: Candidate) -> int | None:
    """What `build` takes as chunks: their number where the schedule leaves it open."""
    return c.chunks if c.chunks > 2 else None


def _splits(request: Request, layout: Layout) -> Iterator[tuple[str, list[int]]]:
    """even: the longer stages first. best: the busiest rank as fast as it can be, the longer stages later, where fewer
    microbatches are alive and a step's ends are shorter. With barriers rows even out what layers can't; without, embedding
    and head weigh on the ends."""
    stages, shape = layout.last_stage + 1, request.shape
    even = even_layers(shape.layers, stages)
    yield "even", even
    rates = rates_of(shape, setting_of(request, layout, request.setting.recompute), request.hardware)
    ends: dict[int, float] = {}
    if not layout.barriers:
        ends[0] = sum(rates.embedding(shape.vocabulary, dense=True))
        ends[layout.last_stage] = ends.get(layout.last_stage, 0.0) + sum(rates.undivided_head())
    best = placed_layers(shape.layers, layout.stages, sum(rates.layer()), ends, shape.extra_heads)
    if best != even:
        yield "best", best
    if layout.barriers or len(layout.stages[0]) > 1:
        return
    try:
        megatron = megatron_layers(shape.layers, stages)
    except ConfigError:
        return
    if megatron not in (even, best):
        yield "megatron", megatron


def _rows(request: Request, layout: Layout, layers: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    vocabulary = request.shape.vocabulary
    yield "even", rows_for([1.0] * layout.ranks, 1.0, vocabulary)
    n = with_heads(layers, request.shape.extra_heads)
    held = [sum(n[s] for s in stages) for stages in layout.stages]
    if layout.barriers and len(set(held)) > 1:
        rates = rates_of(request.shape, request.setting, request.hardware)
        head = sum(rates.head(vocabulary, layout.barriers)) - sum(rates.head(0, layout.barriers))
        yield "balanced", rows_for([n * sum(rates.layer()) for n in held], head, vocabulary)


def setting_of(request: Request, layout: Layout, recompute: bool, replicas: int = 1) -> Setting:
    """Pinisi's embedding makes a dense gradient with 0 barriers only; its undivided head makes all gradients in B."""
    return dataclasses.replace(
        request.setting,
        recompute=recompute,
        dense=not layout.barriers,
        late_head=False,
        owners=replicas if request.sharded else 1,
    )


def recomputing(request: Request, c: Candidate) -> Candidate:
    """The same with layers recomputed in the backward."""
    return under(request, dataclasses.replace(c, recompute=True))


def under(request: Request, c: Candidate) -> Candidate:
    """The same way of running what another request asks for."""
    return _candidate(request, **{field.name: getattr(c, field.name) for field in dataclasses.fields(c)})


def _candidate(request: Request, **given: Any) -> Candidate:
    layout, layers, rows = given["layout"], given["layers"], given["rows"]
    setting = setting_of(request, layout, given["recompute"], given["replicas"])
    sizes = (request.shape, setting, request.hardware, layout, layers, rows)
    costs = pass_costs(*sizes, replicas=given["replicas"])
    _, end = sums_and_update(*sizes, given["replicas"])
    bound = lower_bound(layout, given["microbatches"], costs) + end
    return Candidate(**{**given, "costs": costs, "end": end, "bound": bound})
