"""Counts the work of a model's passes, and plans schedule, layers and rows by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import torch

from pinisi.base.errors import ConfigError, ScheduleError
from pinisi.config import RunConfig
from pinisi.costs import (
    S_SHARE,
    Setting,
    head_layers,
    made_again,
    placed_layers,
    rows_for,
    shape_of,
    with_heads,
)
from pinisi.engine.parts import split_layers
from pinisi.models import ModelSpec
from pinisi.models.stored import stored_dtype
from pinisi.schedule import Costs, Layout, Schedule, layout_of
from pinisi.train.phases import Phase, phases_of
from pinisi.train.tables import table_for
from pinisi.vocabulary import Shards

_MESSAGE = 0.01  # of an interval: short but not free, so that an order leaves room for messages


def planned(
    config: RunConfig, spec: ModelSpec, phase: Phase | None = None
) -> tuple[Schedule, list[range], Shards]:
    """Returns the schedule of a phase (the first one if None), the layers of each stage and the rows of each rank, which all
    phases share.

    Raises ConfigError or ScheduleError.
    """
    plan, phase = config.pipeline, phase or phases_of(config)[0]
    split_layers(spec.layers, plan.ranks)  # its error is clearer than the schedule's
    layout = layout_of(plan.name, plan.ranks, chunks=plan.chunks, barriers=plan.barriers)
    layers = split_layers(spec.layers, layout.last_stage + 1, layers_with_heads(spec, layout, plan.layers))
    work = with_heads([len(each) for each in layers], spec.extra_heads)
    per_rank = [range(sum(work[s] for s in stages)) for stages in layout.stages]
    rows = split_rows(spec, plan.rows, per_rank, config.data.sequence)
    recompute = config.memory.activation_checkpointing == "full"
    setting = Setting(
        phase.data.sequence,
        phase.data.microbatch_size,
        config.model.dtype or stored_dtype(spec),
        recompute=recompute,
        head_budget=config.memory.head_budget,
    )
    costs = work_costs(spec, layout, layers, rows, phase.data.sequence, recompute=recompute, head=setting)
    if plan.table is not None:
        schedule = replace(read_table(plan.table, layout, phase.microbatches), costs=costs)
    else:
        folder = Path(config.run.folder)
        schedule = table_for(folder, plan.name, layout, plan.chunks, phase.microbatches, costs)
    return schedule, layers, rows


def tied_ends(config: RunConfig, spec: ModelSpec) -> tuple[int, int] | None:
    """Returns the ranks of a pipeline that hold embedding and head, where they hold one matrix twice; else None."""
    plan = config.pipeline
    layout = layout_of(plan.name, plan.ranks, chunks=plan.chunks, barriers=plan.barriers)
    apart = plan.barriers == 0 and spec.tied and layout.first_rank != layout.last_rank
    return (layout.first_rank, layout.last_rank) if apart else None


def layers_with_heads(spec: ModelSpec, layout: Layout, given: Sequence[int] | None) -> Sequence[int] | None:
    """Returns the layers of each stage where the model has extra heads, each of which is a layer's work on the last stage: as
    given, or so that the ranks have as much to do as each other."""
    if not spec.extra_heads:
        return given
    if given is None:
        if spec.layers <= layout.last_stage:
            return None
        return placed_layers(spec.layers, layout.stages, 1.0, {}, spec.extra_heads)
    if not given[-1]:
        raise ConfigError(
            f"pipeline.layers is {list(given)}: with loss.extra_heads the last stage must hold the model's last layer, beside "
            "which they stand: end with at least 1"
        )
    return given


def read_table(file: str, layout: Layout, microbatches: int) -> Schedule:
    """Reads a table from a file (see `Schedule.to_text`); raises ConfigError if it is for another step."""
    try:
        schedule = Schedule.from_text(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"pipeline.table = {file!r} can't be read ({error}): name a file, or leave it out"
        ) from None
    except ScheduleError as error:
        raise ConfigError(f"pipeline.table = {file!r}: {error}") from None
    given = (schedule.layout.stages, schedule.layout.barriers, schedule.microbatches)
    wanted = (layout.stages, layout.barriers, microbatches)
    for what, got, needed in zip(
        ("stages of each rank", "barriers", "microbatches"), given, wanted, strict=True
    ):
        if got != needed:
            raise ConfigError(
                f"pipeline.table = {file!r} has {what} {got}, [pipeline] says {needed}: change the one or the other"
            )
    return schedule


def work_costs(
    spec: ModelSpec,
    layout: Layout,
    layers: Sequence[range],
    rows: Shards,
    sequence: int,
    *,
    recompute: bool = False,
    head: Setting | None = None,
) -> Costs:
    """Returns costs by floating-point work, in units of one layer's forward: what an order is chosen for before anything is
    measured.

    S and T share 6·T·h·V_r FLOPs, of each head, by `S_SHARE`; head: what a microbatch is, where T may make logits again.
    """
    work = with_heads([len(each) for each in layers], spec.extra_heads)
    held = [[float(work[stage]) for stage in stages] for stages in layout.stages]
    w = head_layers(shape_of(spec), Setting(sequence))
    sizes = [stop - start for start, stop in pairwise(rows.offsets)]
    products = [3 * w * n / spec.vocabulary for n in sizes]
    if not layout.barriers:
        held[layout.last_rank][-1] += w
        products = [0.0] * layout.ranks
    device = "cuda" if torch.cuda.is_available() else "cpu"
    again = [made_again(shape_of(spec), head, n, device) if head else 0.0 for n in sizes]
    s = S_SHARE.get(layout.barriers, 0.0)
    interval = 3 * (sum(work) + w) / layout.ranks
    message = _MESSAGE * interval
    return Costs(
        forward=held,
        backward=[[n * (2 if recompute else 1) for n in row] for row in held],
        weight=held,
        head_s=[s * n for n in products],
        head_t=[(1 - s + part / 3) * n for n, part in zip(products, again, strict=True)],
        embedding_forward=message,
        embedding_gradient=message,
        **dict.fromkeys(("p2p", "c0", "c1", "u", "c2", "embedding"), message),
    )


def split_rows(spec: ModelSpec, rows: str | Sequence[int], layers: Sequence[range], sequence: int) -> Shards:
    """Returns the vocabulary rows per rank: "even", "balanced" (fewer where there are more layers), or the sizes themselves."""
    ranks = len(layers)
    if rows == "even":
        return Shards.even(spec.vocabulary, ranks)
    if rows == "balanced":
        w = head_layers(shape_of(spec), Setting(sequence))
        sizes = rows_for([float(len(r)) for r in layers], w, spec.vocabulary)
        return Shards.from_list(accumulate(sizes, initial=0))
    sizes = [n for n in rows if isinstance(n, int)]
    if len(rows) != ranks or len(sizes) != ranks or sum(sizes) != spec.vocabulary:
        raise ConfigError(
            f"pipeline.rows is {rows}: needed 'even', 'balanced', or {ranks} whole numbers that sum to {spec.vocabulary}"
        )
    return Shards.from_list(accumulate(sizes, initial=0))
