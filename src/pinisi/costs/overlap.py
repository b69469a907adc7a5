"""Predicts a step in which replicas sum their gradients beside the passes that come behind the last one that adds to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pinisi.costs.hardware import Hardware
from pinisi.costs.pass_costs import BUCKET, all_reduce, sums_and_update
from pinisi.costs.reductions import group_parameters
from pinisi.costs.shape import Shape
from pinisi.costs.split import with_heads
from pinisi.costs.work import Setting
from pinisi.schedule import Layout, Timeline
from pinisi.schedule.execution.reduce import reductions_of
from pinisi.schedule.needs import adders
from pinisi.schedule.program import Message


def sum_seconds(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    layout: Layout,
    layers: Sequence[int],
    rows: Sequence[int],
    replicas: int,
) -> dict[Message, float]:
    """Returns the seconds of each sum over replicas that stands among a program's instructions: to the owners where the optimizer
    is shared out, else to all."""
    within = layout.ranks * replicas <= hardware.per_node
    work = with_heads(layers, shape.extra_heads)
    found = {}
    for message in reductions_of(layout, tied=shape.tied):
        nbytes = group_parameters(shape, layout, layers, rows, message) * setting.gradient
        tensors = work[message.stage] * shape.tensors if message.stage >= 0 else 1
        if setting.owners > 1:
            tensors = math.ceil(nbytes / BUCKET)
        seconds = all_reduce(hardware, nbytes, replicas, max(1, tensors), within=within)
        found[message] = seconds / 2 if setting.owners > 1 else seconds
    return found


def step_with_sums(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    timeline: Timeline,
    layers: Sequence[int],
    rows: Sequence[int],
    replicas: int,
) -> float:
    """Returns the seconds from one step to the next: passes, the sums that they don't cover, the optimizer.

    A rank's sums pass one after the other, each from the end of the last pass that adds to it on; what is in none of them (a tied
    matrix that two ranks hold, the gathering of a shared optimizer's weights) comes behind all of the rank's.
    """
    layout = timeline.schedule.layout
    sizes = (shape, setting, hardware, layout, layers, rows, replicas)
    totals, update = sums_and_update(*sizes)
    seconds = sum_seconds(*sizes) if replicas > 1 else {}
    ends = []
    for rank, spans in enumerate(timeline.spans):
        mine = {message: each for message, each in seconds.items() if message.source == rank}
        begins = {
            message: max(
                (s.end for s in spans if s.pass_[:2] in adders(message.stage, rank, layout)), default=0.0
            )
            for message in mine
        }
        free = 0.0
        for message in sorted(mine, key=begins.__getitem__):
            free = max(free, begins[message]) + mine[message]
        last = max((span.end for span in spans), default=0.0)
        ends.append(max(last, free) + max(0.0, totals[rank] - sum(mine.values())))
    return max(ends) + update
