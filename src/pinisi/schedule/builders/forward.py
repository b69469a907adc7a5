"""Builds the table of an evaluation: E, F and S only."""

from __future__ import annotations

from pinisi.schedule.table import Kind, Layout, Pass, Schedule


def forward_only(layout: Layout, microbatches: int) -> Schedule:
    """Every F in order of stages, S as soon as the last stage can have run its F.

    With a split vocabulary the table has 2 barriers whatever the layout says: S then makes the statistics
    alone, and no pass follows C1, which is waited for at the step's end.
    """
    layout = Layout(layout.stages, 2 if layout.barriers else 0)
    order = []
    for rank, stages in enumerate(layout.stages):
        passes: list[Pass] = []
        behind = layout.last_stage - max(
            stages
        )  # passes until what this rank has forwarded leaves the last stage
        ahead = min(2 + min(stages), microbatches)  # E runs ahead of stage 0's F
        if layout.barriers:
            passes += [Pass(Kind.E, rank, i) for i in range(ahead)]
        for i in range(microbatches + behind + 1):
            if i < microbatches:
                passes += [Pass(Kind.F, stage, i) for stage in stages]
            if layout.barriers and ahead <= i + ahead < microbatches:
                passes.append(Pass(Kind.E, rank, i + ahead))
            if layout.barriers and 0 <= i - behind < microbatches:
                passes.append(Pass(Kind.S, rank, i - behind))
        order.append(tuple(passes))
    return Schedule("forward-only", layout, microbatches, tuple(order))
