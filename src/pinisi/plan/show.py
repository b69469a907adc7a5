"""Shows a plan: as a table, one row of it in full, as plain values, and as timelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.costs.hardware import GIB
from pinisi.costs.work import head_layers, model_flops
from pinisi.plan.advice import (
    in_megatron,
    layers_of_rank,
    open_rows,
    other_attention,
    placement,
    what_would_fit,
    whether_passes_pay,
    without_pipeline,
)
from pinisi.plan.candidates import Candidate
from pinisi.plan.planner import Plan, PlanRow, row_dict
from pinisi.plan.rivals import rivals
from pinisi.plan.source import ModelSource
from pinisi.report.trace import TraceEntry

_HEAD = (
    "row",
    "schedule",
    "ranks",
    "barriers",
    "layers",
    "rows",
    "m",
    "recompute",
    "step s",
    "tokens/s",
    "MFU %",
    "bubble %",
)
_HEAD_MORE = ("above bound %", "peak GiB")
_WIDTHS = (3, 18, 8, 9, 9, 9, 5, 10, 9, 11, 7, 9, 14, 9)


def format_plan(source: ModelSource, plan: Plan, top: int) -> str:
    """The best `top` rows, and then what was set aside and what does not fit."""
    request = plan.request
    shape, setting, hardware = request.shape, request.setting, request.hardware
    heads = f"{shape.extra_heads} extra heads, " if shape.extra_heads else ""
    lines = [
        f"{source.name}: {_count(shape.parameters)} parameters, {shape.layers} layers, {heads}vocabulary {shape.vocabulary:,}; "
        f"the head is {head_layers(shape, setting):.2f} layers' work",
        f"{request.ranks} x {hardware.name}, {request.room / GIB:.1f} GiB each; microbatches of {setting.microbatch} x "
        f"{setting.sequence} tokens in {setting.dtype}, {model_flops(shape, setting) / 1e12:,.4g} TFLOP each",
        "ranks: of a pipeline x replicas of it; m: microbatches of a step on each pipeline"
        + ("; the optimizer is shared out over replicas" if request.sharded else ""),
        "",
        _line((*_HEAD, *_HEAD_MORE)),
    ]
    numbered = list(enumerate(plan.rows, 1))
    fitting = [(n, row) for n, row in numbered if row.status == "fits"]
    lines += [_row_line(n, row) for n, row in fitting[:top]]
    lines += _in_words(plan, fitting, max(3, top // 3))
    aside = [(n, row) for n, row in numbered if row.status in ("bounded", "not simulated")]
    undecided = {n for n, _ in open_rows(plan)}
    for title, rest in (
        ("does not fit", [(n, row) for n, row in numbered if row.status == "too large"]),
        ("can't be better than the best above", [(n, row) for n, row in aside if n not in undecided]),
    ):
        lines += _group(title, rest, max(3, top // 3))
    if any(row.searched for row in plan.rows):
        lines += ["", "*: another order of passes than the schedule's own, found for these times"]
    lines.append(
        f"\n{len(plan.rows)} ways in {plan.seconds:.1f} s; times are predictions from {hardware.source}"
    )
    return "\n".join(lines)


def _in_words(plan: Plan, fitting: Sequence[tuple[int, PlanRow]], most: int) -> list[str]:
    """What is said below the best rows: what may be better still, who has which layers, and whether vocabulary passes pay."""
    undecided, seconds = open_rows(plan), plan.request.seconds
    lines = _group(
        f"no time for these in {seconds:g} s, and they may be better: --seconds {3 * seconds:g} tries more",
        undecided,
        most,
    )
    if not fitting:
        return [*lines, what_would_fit(plan)]
    number, best = fitting[0]
    lines += ["", placement(number, best.candidate)]
    said = (whether_passes_pay(plan), other_attention(plan), *without_pipeline(plan), in_megatron(plan))
    return [*lines, *(line for line in said if line)]


def _group(title: str, rows: Sequence[tuple[int, PlanRow]], most: int) -> list[str]:
    return ["", f"{title}: {len(rows)}", *(_row_line(n, row) for n, row in rows[:most])] if rows else []


def _count(parameters: float) -> str:
    """Parameters in billions, or in millions where that would be next to nothing."""
    return f"{parameters / 1e9:.2f}B" if parameters >= 1e8 else f"{parameters / 1e6:.3g}M"


def _row_line(number: int, row: PlanRow) -> str:
    c = row.candidate
    name = c.name + (f" x{c.chunks}" if c.chunks > 2 else "") + "*" * row.searched
    cells = [
        str(number),
        name,
        _ranks(c),
        str(c.barriers),
        c.split,
        c.rows_split if c.barriers else "-",
        str(c.microbatches),
    ]
    cells.append("full" if c.recompute else "none")
    if row.memory:
        cells += [
            f"{row.step:.4g}",
            f"{row.tokens_per_second:,.0f}",
            f"{100 * row.mfu:.1f}",
            f"{100 * row.bubble:.1f}",
        ]
        cells += [f"{100 * row.distance:.1f}", f"{max(row.peaks) / GIB:.1f}"]
    else:
        return _line((*cells, f">{c.bound:.4g}"), "  " + row.why)
    return _line(cells, "  " + row.why)


def _ranks(c: Candidate) -> str:
    return f"{c.ranks}x{c.replicas}"


def _line(cells: Sequence[str], end: str = "") -> str:
    first, second, *rest = zip(cells, _WIDTHS, strict=False)  # a row may end early
    text = first[0].rjust(first[1]) + "  " + second[0].ljust(second[1])
    return (text + "".join(cell.rjust(width) for cell, width in rest) + end).rstrip()


def explain(plan: Plan, number: int) -> str:
    """One row in full: why it takes so long, and what fills each rank's memory."""
    if not 1 <= number <= len(plan.rows):
        raise ConfigError(f"--explain {number}: rows are 1 to {len(plan.rows)}")
    row = plan.rows[number - 1]
    c = row.candidate
    lines = [
        f"row {number}: {c.label}, {c.microbatches} microbatches, recompute {'full' if c.recompute else 'none'}: {row.status}",
        f"{c.replicas} pipeline{'s' * (c.replicas > 1)} of {c.ranks} ranks, {c.whole_step} microbatches a step in all",
    ]
    lines += ["its order of passes was searched for these times"] if row.searched else []
    lines += [row.why] if row.why else []
    lines.append(f"layers per stage: {list(c.layers)}")
    lines += [f"layers of rank {rank}: {layers_of_rank(c, rank)}" for rank in range(c.ranks)]
    if c.barriers:
        lines.append(f"vocabulary rows per rank: {list(c.rows)}")
    if not row.memory or row.timeline is None:
        return "\n".join([*lines, f"not simulated: its step takes at least {c.bound:.4g} s"])
    lines += [
        f"step {row.step:.4g} s, {100 * row.distance:.1f} % above the bound of {c.bound:.4g} s (the busiest rank's passes, and "
        "what lies before its first and after its last)",
        f"of it {row.step - row.timeline.makespan:.4g} s behind the last pass: sums of gradients over copies that no pass covers, "
        "and the optimizer",
        "",
        "rank  F ms  B ms  W ms  S ms  T ms  work ms  busy %  peak GiB  of which",
    ]
    work = c.costs.work(c.layout)
    seconds = c.costs.table(c.layout)
    for rank, stages in enumerate(c.layout.stages):
        times = [
            1e3 * sum(s for (kind, part), s in seconds.items() if kind == k and part in stages) for k in "FBW"
        ]
        times += [
            1e3 * sum(s for (kind, part), s in seconds.items() if kind == k and part == rank) for k in "ST"
        ]
        parts = sorted(row.memory[rank].parts.items(), key=lambda item: -item[1])
        lines.append(
            f"{rank:4d}"
            + "".join(f"{t:6.1f}" for t in times)
            + f"{1e3 * work[rank]:9.1f}{100 * (1 - row.timeline.bubble(rank)):8.1f}{row.peaks[rank] / GIB:10.1f}  "
            + ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts if size > 0.05 * GIB)
        )
    return "\n".join(lines)


def plan_dict(source: ModelSource, plan: Plan) -> dict[str, Any]:
    """The whole plan as plain values."""
    request = plan.request
    return {
        "model": source.name,
        "parameters": request.shape.parameters,
        "ranks": request.ranks,
        "hardware": request.hardware.name,
        "room_gb": request.room / GIB,
        "sequence": request.setting.sequence,
        "microbatch": request.setting.microbatch,
        "dtype": request.setting.dtype,
        "moments": request.setting.moments,
        "sharded": request.sharded,
        "head_layers": head_layers(request.shape, request.setting),
        "seconds": plan.seconds,
        "rows": [row_dict(row) for row in plan.rows],
        "without_pipeline": [dataclasses.asdict(rival) for rival in rivals(request)],
        "refused": [{"what": what, "why": why} for what, why in plan.refused],
    }


def entries_of(plan: Plan, rows: Sequence[PlanRow]) -> list[TraceEntry]:
    """The rows' timelines and memory curves, as report's explorer and Perfetto traces show them."""
    found = []
    for row in rows:
        c = row.candidate
        assert row.timeline is not None
        facts = (
            ("ranks x replicas", _ranks(c)),
            ("step", f"{row.step:.4g} s"),
            ("tokens/s", f"{row.tokens_per_second:,.0f}"),
            ("MFU", f"{100 * row.mfu:.1f} %"),
            ("above the bound", f"{100 * row.distance:.1f} %"),
            ("peak memory", f"{max(row.peaks) / GIB:.1f} GiB"),
            ("recompute", "full" if c.recompute else "none"),
        )
        searched = ", searched order" if row.searched else ""
        title = f"{plan.rows.index(row) + 1}: {c.label}, {c.microbatches} microbatches{searched}"
        found.append(TraceEntry(title, row.timeline, [m.curve for m in row.memory], facts))
    return found


def best_rows(plan: Plan, explained: int | None) -> list[PlanRow]:
    """The explained row, or the best row of each schedule, six at most."""
    if explained is not None:
        return [row for row in plan.rows[explained - 1 : explained] if row.timeline is not None]
    best: dict[tuple[str, int, bool], PlanRow] = {}
    for row in plan.rows:
        if row.timeline is not None:
            best.setdefault((row.candidate.name, row.candidate.barriers, row.searched), row)
    return list(best.values())[:6]
