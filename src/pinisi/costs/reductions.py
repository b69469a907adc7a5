"""Counts the sums of gradients over replicas that are among a program's instructions: parameters, bytes and seconds of each."""

from __future__ import annotations

from collections.abc import Sequence

from pinisi.costs.shape import Shape
from pinisi.costs.split import with_heads
from pinisi.schedule import Layout
from pinisi.schedule.needs import Gradients
from pinisi.schedule.program import Message


def group_parameters(
    shape: Shape, layout: Layout, layers: Sequence[int], rows: Sequence[int], message: Message
) -> float:
    """Returns how many parameters a sum is over. layers[stage], rows[rank]: how many each holds.

    With 0 barriers a tied matrix whose ends stand on two ranks is in no such sum (see `gradients_of`).
    """
    group, rank = message.stage, message.source
    if group in (Gradients.EMBEDDING, Gradients.HEAD, Gradients.TIED):
        return float(rows[rank] * shape.hidden)
    if group == Gradients.ENDS:
        return float(shape.vocabulary_parameters)
    found = float(shape.layer_parameters * with_heads(layers, shape.extra_heads)[group])
    first, last = group == 0, group == layout.last_stage
    found += shape.positions * shape.hidden * first + shape.final_norm * last
    if layout.barriers:
        return found
    if shape.tied:
        return found + shape.vocabulary_parameters * (first and last)
    return found + shape.vocabulary_parameters * (first + last)
