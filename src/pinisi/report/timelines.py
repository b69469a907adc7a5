"""The timelines of one step: predicted and measured, over all ranks, on one scale of time."""

from html import escape

from pinisi.report import numbers
from pinisi.report.files import RunFiles
from pinisi.report.sections import absent, legend, section
from pinisi.schedule import Kind, Timeline

LANE, GAP, AXIS = 26, 5, 22  # heights in pixels
COLOURS = {
    Kind.E: ("c4", "E, embedding"),
    Kind.F: ("c1", "F, forward"),
    Kind.S: ("c2", "S, head: scores"),
    Kind.T: ("c5", "T, head: weight gradient"),
    Kind.B: ("c3", "B, input gradient"),
    Kind.W: ("c6", "W, weight gradient"),
    Kind.BW: ("c3", "BW, backward"),
    Kind.G: ("c7", "G, embedding gradient"),
}


def timelines(run: RunFiles) -> str:
    """Both timelines one above the other; hover a pass for its times, zoom to read them."""
    title = "One step on every rank"
    both = [
        (name, timeline)
        for name, timeline in (("predicted", run.predicted), ("measured", run.measured))
        if timeline
    ]
    if not both:
        return section("timelines", title, absent(run, "timeline.json", "timeline.json holds no timeline."))
    last = max(end_of(timeline) for _, timeline in both)
    used = {span.pass_.kind for _, timeline in both for rank in timeline.spans for span in rank}
    key = legend((colour, text) for kind, (colour, text) in COLOURS.items() if kind in used)
    buttons = "".join(
        f'<button type="button" data-zoom="{factor}" title="{title}">{text}</button>'
        for factor, text, title in ((2, "+", "zoom in"), (0.5, "−", "zoom out"), (0, "whole step", "fit"))
    )
    gone = [] if len(both) == 2 else [name for name in ("predicted", "measured") if name != both[0][0]]
    notes = "".join(f'<p class="missing">timeline.json has no {name} timeline.</p>' for name in gone)
    parts = "".join(figure(name, timeline, last) for name, timeline in both)
    lead = (
        "The number in a pass is its microbatch; white is waiting. Ctrl and the wheel zoom, dragging moves."
    )
    if run.timeline_step is not None:
        lead = f"Step {run.timeline_step}. {lead}"
    return section("timelines", title, f'<div class="zoom">{buttons}</div>', key, parts, notes, lead=lead)


def end_of(timeline: Timeline) -> float:
    return max((span.end for rank in timeline.spans for span in rank), default=0.0) or 1.0


def figure(name: str, timeline: Timeline, last: float) -> str:
    """A heading, a label per rank, and the lanes, which scroll sideways when zoomed."""
    ranks = range(len(timeline.spans))
    idle = [timeline.bubble(rank) for rank in ranks]
    about = f"{numbers.duration(timeline.makespan)}, idle {numbers.percent(sum(idle) / max(1, len(idle)))}"
    rows = "".join(
        f"<li>rank {rank}<span>{numbers.percent(idle[rank], 0)} idle</span></li>" for rank in ranks
    )
    return (
        f'<div class="timeline" data-timeline="{name}"><h3>{name.capitalize()}<span>{escape(about)}</span></h3>'
        f'<div class="board"><ul class="ranks">{rows}</ul><div class="lanes">{drawing(name, timeline, last)}</div></div></div>'
    )


def drawing(name: str, timeline: Timeline, last: float) -> str:
    """The lanes as SVG. Places and widths are percentages of `last` seconds: zooming only widens the picture."""
    height = (LANE + GAP) * len(timeline.spans) + AXIS
    out = []
    for value in numbers.ticks(0, last, 10):
        x = 100 * value / last
        anchor = "start" if value == 0 else "end" if x > 99 else "middle"
        out.append(f'<line class="grid" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{height - AXIS}"/>')
        label = numbers.duration(value) if value else "0"
        out.append(f'<text class="tick" x="{x:.3f}%" y="{height - 6}" text-anchor="{anchor}">{label}</text>')
    for rank, spans in enumerate(timeline.spans):
        out.append(f'<g class="rank" data-rank="{rank}">')
        for span in spans:
            out.append(draw_pass(span, rank * (LANE + GAP), last))
        out.append("</g>")
    label = f"{name} timeline of {len(timeline.spans)} ranks"
    return f'<svg class="chart" style="width:100%;height:{height}px" role="img" aria-label="{label}">{"".join(out)}</svg>'


def draw_pass(span, top: int, last: float) -> str:
    """One pass: a box with its microbatch's number, and its times for the pointer."""
    kind, _, microbatch = span.pass_
    colour, words = COLOURS[kind]
    x, width = 100 * span.start / last, 100 * (span.end - span.start) / last
    number = (
        f'<text x="50%" y="{LANE / 2 + 4}" text-anchor="middle">{microbatch}</text>' if width > 0.05 else ""
    )
    times = f"{words}\nmicrobatch {microbatch}, pass {span.pass_}\n{numbers.duration(span.end - span.start)}"
    times += f" from {1000 * span.start:.4g} to {1000 * span.end:.4g} ms"
    return (
        f'<svg class="pass {colour}" x="{x:.3f}%" y="{top}" width="{width:.3f}%" height="{LANE}">'
        f'<title>{escape(times)}</title><rect width="100%" height="100%"/>{number}</svg>'
    )
