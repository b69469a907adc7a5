"""Places the passes of one step, predicted and measured, over all ranks, on one scale of time.

Places are percentages, so that a zoom stretches time alone: text, heights and the ranks' names stay as they are.
"""

from collections.abc import Iterator
from typing import Any

from pinisi.report import numbers
from pinisi.report.files import RunFiles
from pinisi.report.sections import View, absent
from pinisi.schedule import Kind, Timeline
from pinisi.schedule.colours import COLOURS, NAMES
from pinisi.schedule.timeline import Span

LANE, GAP, AXIS = 26, 5, 22  # heights in pixels
THIN = 0.25  # per cent of the width below which a pass has no edge, or the edge would hide it


def timelines(run: RunFiles) -> View:
    """Both timelines one above the other; hover a pass for its times, zoom to read them."""
    named = (("predicted", run.predicted), ("measured", run.measured))
    both = [(name, timeline) for name, timeline in named if timeline]
    if not both:
        return absent(run, "timeline.json", "timeline.json holds no timeline.")
    last = max(timeline.makespan for _, timeline in both) or 1.0
    used = {span.pass_.kind for _, timeline in both for rank in timeline.spans for span in rank}
    return {
        "legend": [(COLOURS[kind], f"{kind}, {NAMES[kind]}") for kind in Kind if kind in used],
        "step": run.timeline_step,
        "figures": [figure(name, timeline, last) for name, timeline in both],
        "gone": [name for name, timeline in named if not timeline],
    }


def figure(name: str, timeline: Timeline, last: float) -> View:
    """A label per rank, and the lanes as percentages of `last` seconds."""
    idle = [timeline.bubble(rank) for rank in range(len(timeline.spans))]
    origin = min((spans[0].start for spans in timeline.spans if spans), default=0.0)
    whole = numbers.percent(sum(idle) / max(1, len(idle)))
    return {
        "name": name,
        "about": f"{numbers.duration(timeline.makespan)}, idle {whole}",
        "idle": [numbers.percent(share, 0) for share in idle],
        "height": (LANE + GAP) * len(timeline.spans) + AXIS,
        "lane": LANE,
        "axis": AXIS,
        "ticks": list(marks_of_time(last)),
        "ranks": [
            (rank * (LANE + GAP), [placed(span, origin, last) for span in spans])
            for rank, spans in enumerate(timeline.spans)
        ],
    }


def marks_of_time(last: float) -> Iterator[tuple[str, str, str]]:
    """(place in per cent, which end of the label is there, label)."""
    for value in numbers.ticks(0, last, 10):
        x = 100 * value / last
        anchor = "start" if value == 0 else "end" if x > 97 else "middle"
        yield f"{x:.3f}", anchor, numbers.duration(value) if value else "0"


def placed(span: Span, origin: float, last: float) -> dict[str, Any]:
    """One pass: a box with its microbatch's number, and its times for the pointer."""
    kind, _, microbatch = span.pass_
    start, end = span.start - origin, span.end - origin
    width = 100 * (end - start) / last
    times = f"{span.pass_}, {NAMES[kind]} of microbatch {microbatch}\n"
    times += f"{numbers.duration(end - start)}, from {1000 * start:.4g} to {1000 * end:.4g} ms"
    return {
        "x": f"{100 * start / last:.3f}",
        "width": f"{width:.3f}",
        "wide": width > THIN,
        "times": times,
        "colour": COLOURS[kind],
        "number": microbatch,
    }
