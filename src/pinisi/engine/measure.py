"""Takes costs from a measured timeline, so that the simulator can predict the next step of the same run."""

from __future__ import annotations

from statistics import median

from pinisi.schedule import Costs, Kind, Timeline

_NAMES = {
    Kind.F: "forward",
    Kind.B: "backward",
    Kind.W: "weight",
    Kind.S: "head_s",
    Kind.T: "head_t",
    Kind.E: "embedding_forward",
    Kind.G: "embedding_gradient",
}


def pass_medians(timeline: Timeline) -> dict[tuple[Kind, int], float]:
    """Median seconds of each kind of pass by (kind, part), all ranks being busy while they were taken."""
    found: dict[tuple[Kind, int], list[float]] = {}
    for row in timeline.spans:
        for span in row:
            found.setdefault((span.pass_.kind, span.pass_.part), []).append(span.end - span.start)
    return {key: median(values) for key, values in found.items()}


def measured_costs(timeline: Timeline, **messages: float) -> Costs:
    """Costs whose passes are the timeline's medians; `messages` gives p2p, c0, c1, u, c2, embedding in seconds."""
    medians = pass_medians(timeline)
    layout = timeline.schedule.layout
    costs: dict[str, list] = {}
    for kind, name in _NAMES.items():
        rows: list = []
        for rank, stages in enumerate(layout.stages):
            if name in ("forward", "backward", "weight"):
                rows.append([_of(medians, kind, stage) for stage in stages])
            else:
                rows.append(medians.get((kind, rank), 0.0))
        costs[name] = rows
    return Costs(**costs, **messages)


def _of(medians: dict[tuple[Kind, int], float], kind: Kind, stage: int) -> float:
    whole = medians.get((Kind.BW, stage))
    if whole is not None and kind in (Kind.B, Kind.W):
        return whole if kind is Kind.B else 0.0  # the sum is what counts in a BW
    return medians.get((kind, stage), 0.0)
