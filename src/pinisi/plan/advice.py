"""Says in words what a plan's table doesn't: whether vocabulary passes pay and why, who holds which layers, what would fit."""

from __future__ import annotations

import dataclasses

from pinisi.base.errors import ConfigError, ScheduleError
from pinisi.costs.hardware import GIB
from pinisi.costs.work import head_layers
from pinisi.models.attention import DENSE
from pinisi.plan.candidates import Candidate, Request
from pinisi.plan.megatron import megatron_layout
from pinisi.plan.planner import Plan, PlanRow, make_plan, with_attention
from pinisi.plan.rivals import rivals

_MANY_RANKS = 8  # a longer list of layers is cut in the middle
_SECONDS = 5.0  # for each number of ranks that is tried where nothing fits


def layers_of_rank(c: Candidate, rank: int) -> str:
    """The layers of a rank, from 0, such as "0-3" or, with two stages, "0-1, 8-9"."""
    starts = [sum(c.layers[:stage]) for stage in range(len(c.layers))]
    held = [(starts[stage], c.layers[stage]) for stage in c.layout.stages[rank] if c.layers[stage]]
    return (
        ", ".join(f"{start}-{start + count - 1}" if count > 1 else str(start) for start, count in held)
        or "none"
    )


def placement(number: int, c: Candidate) -> str:
    """One line: which layers each rank of the row has, and who holds embedding and head."""
    ranks = [f"rank {rank}: {layers_of_rank(c, rank)}" for rank in range(c.ranks)]
    if c.ranks > _MANY_RANKS:
        ranks = [*ranks[:3], "...", *ranks[-2:]]
    ends = (
        "embedding and head by rows on all"
        if c.barriers
        else f"embedding on rank {c.layout.first_rank}, head on rank {c.layout.last_rank}"
    )
    return f"row {number}, layers: {'; '.join(ranks)}; {ends}"


def whether_passes_pay(plan: Plan) -> str:
    """Compares the best row with vocabulary passes (1 or 2 barriers) with the best one without; empty where one kind is lacking."""
    fitting = [(n, row) for n, row in enumerate(plan.rows, 1) if row.status == "fits"]
    with_passes = next(((n, row) for n, row in fitting if row.candidate.barriers), None)
    without = next(((n, row) for n, row in fitting if not row.candidate.barriers), None)
    if with_passes is None or without is None:
        return _one_kind_alone(plan, with_passes or without)
    (n, row), (m, other) = with_passes, without
    gain = row.tokens_per_second / other.tokens_per_second - 1
    if gain > 0:
        return (
            f"vocabulary passes pay here: row {n} is {100 * gain:.1f} % faster than the best without them (row {m}), whose busiest "
            f"rank has {100 * _excess(other.candidate):.0f} % more work than the mean"
        )
    return (
        f"vocabulary passes don't pay here: the best row with them ({n}) is {-100 * gain:.1f} % slower than the best without "
        f"({m}), since {_why_not(plan.request, other.candidate)}"
    )


def without_pipeline(plan: Plan) -> list[str]:
    """Compares the best row with what all ranks would do without a pipeline, a line each."""
    best = plan.rows[0]
    lines = []
    for rival in rivals(plan.request):
        where = f"without a pipeline, {rival.name} on {plan.request.ranks} ranks"
        where += (
            " (not in Pinisi)"
            if rival.elsewhere
            else ' (pipeline.ranks = 1, optimizer.sharded, memory.head = "recompute")'
        )
        if not rival.fits:
            lines.append(
                f"{where}: doesn't fit, {rival.memory / GIB:.1f} GiB of {plan.request.room / GIB:.1f}"
            )
            continue
        gain = rival.tokens_per_second / best.tokens_per_second - 1
        again = ", layers recomputed" if rival.recompute else ""
        lines.append(
            f"{where}: {rival.tokens_per_second:,.0f} tokens/s, {rival.memory / GIB:.1f} GiB{again}: {abs(100 * gain):.1f} % "
            f"{'faster' if gain > 0 else 'slower'} than row 1"
        )
    return lines


def other_attention(plan: Plan) -> str:
    """Compares the best row with the same under attention that makes no mask of a row's documents, or under dense attention."""
    setting, best = plan.request.setting, plan.rows[0]
    if best.status != "fits" or not setting.masked:
        return ""
    fused = "blocks" if plan.request.hardware.device == "cpu" else "varlen"
    if fused == "varlen" and plan.request.shape.attention == "softcap":
        fused = "flex"
    other = fused if setting.attention == DENSE else DENSE
    row = with_attention(plan.request, best, other)
    if row is None:
        return ""
    gain = row.tokens_per_second / best.tokens_per_second - 1
    return (
        f"row 1 with model.attention = {other!r} in place of {setting.attention!r}: {row.tokens_per_second:,.0f} tokens/s "
        f"({100 * gain:+.1f} %), {max(row.peaks) / GIB:.1f} GiB on the fullest rank in place of {max(best.peaks) / GIB:.1f}"
        + (", more where rows hold several documents" if other == fused else "")
    )


def in_megatron(plan: Plan) -> str:
    """Gives the layout string of the best row that Megatron-LM can have; empty where there is none."""
    for number, row in enumerate(plan.rows, 1):
        c = row.candidate
        layout = megatron_layout(c, plan.request.shape.extra_heads)
        if layout is not None and c.ranks > 1 and row.status != "too large":
            return (
                f"row {number} in Megatron-LM: --pipeline-model-parallel-size {c.ranks} --pipeline-model-parallel-layout "
                f'"{layout}"'
            )
    return ""


def _one_kind_alone(plan: Plan, best: tuple[int, PlanRow] | None) -> str:
    """Where only one kind was simulated and fits: what became of the other."""
    if best is None:
        return ""
    number, row = best
    passes = bool(row.candidate.barriers)
    others = [each for each in plan.rows if bool(each.candidate.barriers) != passes]
    if not others:
        return ""
    if all(each.status == "too large" for each in others):
        return f"{'without' if passes else 'with'} vocabulary passes nothing fits into memory"
    bounded = [each for each in others if each.status == "bounded"]
    if not bounded:
        return ""  # for want of time, which is said elsewhere
    if passes:
        return f"vocabulary passes pay here: no row without them can be as fast as row {number}"
    return (
        f"vocabulary passes don't pay here: no row with them can be as fast as row {number}, since "
        f"{_why_not(plan.request, row.candidate)}"
    )


def _why_not(request: Request, best: Candidate) -> str:
    """The reason, of the best row without vocabulary passes."""
    if best.ranks == 1:
        return "its pipelines have one rank each, and the passes share the head among the ranks of a pipeline"
    head, excess = head_layers(request.shape, request.setting), _excess(best)
    return (
        f"the head is {head:.1f} layers' work, and with the layers shared out the busiest rank has only {100 * excess:.0f} % more "
        "work than the mean: less than the passes cost in time"
    )


def _excess(c: Candidate) -> float:
    """By how much the busiest rank's work is above the mean, as a share."""
    work = [float(each) for each in c.costs.work(c.layout)]
    return max(work) / (sum(work) / len(work)) - 1


def open_rows(plan: Plan) -> list[tuple[int, PlanRow]]:
    """The rows for which there was no time and that may be better than the best one, with their numbers."""
    best = max((row.tokens_per_second for row in plan.rows if row.status == "fits"), default=0.0)
    tokens = plan.request.setting.tokens
    return [
        (n, row)
        for n, row in enumerate(plan.rows, 1)
        if row.status == "not simulated" and tokens * row.candidate.whole_step / row.candidate.bound > best
    ]


def what_would_fit(plan: Plan) -> str:
    """Where nothing fits: the least memory that these ranks need, and the fewest ranks (by doubling) that fit as they are."""
    request = plan.request
    lines = [
        "nothing fits: take more ranks, a shorter sequence, fewer sequences a microbatch, or more memory"
    ]
    known = [row for row in plan.rows if row.memory]
    if known:
        least = min(known, key=lambda row: max(row.peaks))
        lines.append(
            f"least memory on {request.ranks} ranks: {max(least.peaks) / GIB:.1f} GiB a rank beside "
            f"{request.hardware.efficiency.reserved / GIB:.1f} GiB that the device keeps (row {plan.rows.index(least) + 1}: "
            f"{least.candidate.label}, recompute {'full' if least.candidate.recompute else 'none'})"
        )
    else:
        needed = min((row.needed for row in plan.rows if row.needed), default=0.0)
        if needed:
            lines.append(
                f"on {request.ranks} ranks each needs more than {needed / GIB:.1f} GiB, whatever the order of passes"
            )
    return "\n".join([*lines, _fewest_ranks(request)])


def _fewest_ranks(request: Request) -> str:
    """Tries one pipeline of twice the ranks, again and again, up to a layer each. Says which of them there was no time for."""
    layers, ranks, untold = request.shape.layers, request.ranks, []
    while ranks < layers:
        ranks = min(2 * ranks, layers)
        # a schedule's most activations alive don't grow with more microbatches than these
        more = dataclasses.replace(
            request, ranks=ranks, replicas=(1,), microbatches=(2 * ranks,), seconds=_SECONDS, searches=0
        )
        try:
            rows = make_plan(dataclasses.replace(more, schedules=request.schedules or ("1f1b",))).rows
        except (ConfigError, ScheduleError):
            break
        best = rows[0]
        if best.status == "fits":
            return (
                f"fewest ranks with this memory: at most {ranks} (one pipeline, {best.candidate.label}, recompute "
                f"{'full' if best.candidate.recompute else 'none'}, {max(best.peaks) / GIB:.1f} GiB a rank)"
            )
        if any(row.status == "not simulated" for row in rows):
            untold.append(ranks)
    if untold:
        return f"a pipeline of {untold[0]} ranks may fit: there was no time to find out; ask with --ranks {untold[0]} --replicas 1"
    return f"no pipeline of up to {layers} ranks (a layer each) was found that fits into this memory"
