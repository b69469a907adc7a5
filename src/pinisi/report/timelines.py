"""The timelines of one step: predicted and measured, over all ranks, on one scale of time.

Colours and words are those of pinisi.schedule.draw, whose picture has a fixed width. Here places are
percentages, so that a zoom stretches time alone: text, heights and the ranks' names stay as they are.
"""

from html import escape

from pinisi.report import numbers
from pinisi.report.files import RunFiles
from pinisi.report.sections import absent, legend, section
from pinisi.schedule import Kind, Timeline
from pinisi.schedule.draw import COLOURS, NAMES
from pinisi.schedule.timeline import Span

LANE, GAP, AXIS = 26, 5, 22  # heights in pixels
THIN = 0.25  # per cent of the width below which a pass has no edge, or the edge would hide it


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
    last = max(timeline.makespan for _, timeline in both) or 1.0
    used = {span.pass_.kind for _, timeline in both for rank in timeline.spans for span in rank}
    key = legend((COLOURS[kind], f"{kind}, {NAMES[kind]}") for kind in Kind if kind in used)
    buttons = "".join(
        f'<button type="button" data-zoom="{factor}" title="{title}">{text}</button>'
        for factor, text, title in ((2, "+", "zoom in"), (0.5, "−", "zoom out"), (0, "whole step", "fit"))
    )
    gone = [] if len(both) == 2 else [name for name in ("predicted", "measured") if name != both[0][0]]
    notes = "".join(f'<p class="missing">timeline.json has no {name} timeline.</p>' for name in gone)
    parts = "".join(figure(name, timeline, last) for name, timeline in both)
    lead = "Numbers are microbatches, gaps are waiting. Ctrl + wheel zooms, dragging moves."
    if run.timeline_step is not None:
        lead = f"Step {run.timeline_step}. {lead}"
    return section("timelines", title, f'<div class="zoom">{buttons}</div>', key, parts, notes, lead=lead)


def figure(name: str, timeline: Timeline, last: float) -> str:
    """A heading, a label per rank, and the lanes, which scroll sideways when zoomed."""
    ranks = range(len(timeline.spans))
    idle = [timeline.bubble(rank) for rank in ranks]
    about = f"{numbers.duration(timeline.makespan)}, idle {numbers.percent(sum(idle) / max(1, len(idle)))}"
    rows = "".join(
        f"<li>rank {rank}<span>{numbers.percent(idle[rank], 0)} idle</span></li>" for rank in ranks
    )
    return (
        f'<div class="timeline" data-timeline="{name}">'
        f"<h3>{name.capitalize()}<span>{escape(about)}</span></h3>"
        f'<div class="board"><ul class="ranks">{rows}</ul>'
        f'<div class="lanes">{drawing(name, timeline, last)}</div></div></div>'
    )


def drawing(name: str, timeline: Timeline, last: float) -> str:
    """The lanes as SVG. Places and widths are percentages of `last` seconds: a zoom only widens it."""
    height = (LANE + GAP) * len(timeline.spans) + AXIS
    out = []
    for value in numbers.ticks(0, last, 10):
        x = 100 * value / last
        anchor = "start" if value == 0 else "end" if x > 97 else "middle"
        out.append(f'<line class="grid" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{height - AXIS}"/>')
        label = numbers.duration(value) if value else "0"
        out.append(f'<text class="tick" x="{x:.3f}%" y="{height - 6}" text-anchor="{anchor}">{label}</text>')
    origin = min((spans[0].start for spans in timeline.spans if spans), default=0.0)
    for rank, spans in enumerate(timeline.spans):
        out.append(f'<g class="rank" data-rank="{rank}">')
        for span in spans:
            out.append(draw_pass(span, rank * (LANE + GAP), origin, last))
        out.append("</g>")
    label = f"{name} timeline of {len(timeline.spans)} ranks"
    size = f'class="chart" style="width:100%;height:{height}px"'
    return f'<svg {size} role="img" aria-label="{label}">{"".join(out)}</svg>'


def draw_pass(span: Span, top: int, origin: float, last: float) -> str:
    """One pass: a box with its microbatch's number, and its times for the pointer."""
    kind, _, microbatch = span.pass_
    start, end = span.start - origin, span.end - origin
    x, width = 100 * start / last, 100 * (end - start) / last
    number = (
        f'<text x="50%" y="{LANE / 2 + 4}" text-anchor="middle">{microbatch}</text>' if width > THIN else ""
    )
    times = f"{span.pass_}, {NAMES[kind]} of microbatch {microbatch}\n"
    times += f"{numbers.duration(end - start)}, from {1000 * start:.4g} to {1000 * end:.4g} ms"
    edge = "" if width > THIN else " thin"
    return (
        f'<svg class="pass{edge}" x="{x:.3f}%" y="{top}" width="{width:.3f}%" height="{LANE}">'
        f"<title>{escape(times)}</title>"
        f'<rect width="100%" height="100%" fill="{COLOURS[kind]}"/>{number}</svg>'
    )
