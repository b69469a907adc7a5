"""Draws a Timeline, predicted or measured, as an SVG picture: a row per rank, a colour per kind of pass."""

import math

from markupsafe import Markup

from pinisi.report.marks import mark, together
from pinisi.schedule.colours import COLOURS, NAMES
from pinisi.schedule.table import Kind
from pinisi.schedule.timeline import Span, Timeline

_LEFT, _TOP, _ROW, _GAP, _FOOT = 64, 30, 22, 4, 34  # pixels
_INK, _FAINT = "#222222", "#888888"


def draw(timeline: Timeline, *, title: str = "", width: int = 1200, until: float | None = None) -> str:
    """Returns an SVG document. until: seconds that fill the width (the makespan if not given), so that two
    timelines can be drawn to one scale; what comes later is cut off."""
    origin = min((spans[0].start for spans in timeline.spans if spans), default=0.0)
    length = until if until is not None else timeline.makespan
    scale = (width - _LEFT - 10) / length if length > 0 else 0.0
    height = _TOP + len(timeline.spans) * (_ROW + _GAP) + _FOOT
    name = title or _default_title(timeline)
    parts = [
        mark("rect", width=width, height=height, fill="#ffffff"),
        mark("text", name, x=_LEFT, y=18, font_size=13, font_weight=600, fill=_INK),
        *_legend(timeline, width),
    ]
    for rank, spans in enumerate(timeline.spans):
        y = _TOP + rank * (_ROW + _GAP)
        lane = mark("rect", x=_LEFT, y=y, width=width - _LEFT - 10, height=_ROW, fill="#f2f2f2")
        parts.append(together(_text(_LEFT - 8, y + 15, f"rank {rank}", text_anchor="end"), lane))
        parts += [_box(span, y, origin, scale) for span in spans if span.start - origin < length]
    parts += _axis(length, scale, _TOP + len(timeline.spans) * (_ROW + _GAP), width)
    return _document(width, height, name, parts)


def _document(width: int, height: int, name: str, parts: list[Markup]) -> str:
    lines = Markup("\n").join(["", *parts, ""])
    box = dict(xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width="100%")
    font = dict(font_family="system-ui, sans-serif", font_size=11)
    return mark("svg", lines, **box, role="img", aria_label=name, **font) + "\n"


def _text(x: object, y: int, text: str, fill: str = _INK, **more: object) -> Markup:
    return mark("text", text, x=x, y=y, fill=fill, **more)


def _default_title(timeline: Timeline) -> str:
    schedule = timeline.schedule
    barriers = schedule.layout.barriers
    return (
        f"{schedule.name}, {schedule.layout.ranks} ranks, {schedule.microbatches} microbatches,"
        f" {barriers} barrier{'' if barriers == 1 else 's'}: {_seconds(timeline.makespan)}"
    )


def _box(span: Span, y: int, origin: float, scale: float) -> Markup:
    p, start, end = span
    x, wide = _LEFT + (start - origin) * scale, (end - start) * scale
    times = mark("title", f"{p}: {_seconds(end - start)} from {_seconds(start - origin)}")
    place = dict(x=f"{x:.2f}", y=y, width=f"{max(wide, 0.3):.2f}", height=_ROW)
    edge = dict(stroke="#ffffff", stroke_width="0.5" if wide > 3 else 0)
    box = mark("rect", times, **place, fill=COLOURS[p.kind], **edge)
    label = str(p.microbatch)
    if wide > 4 + 6.5 * len(label):
        box += _text(f"{x + wide / 2:.2f}", y + 15, label, "#1a1a1a", text_anchor="middle")
    return box


def _legend(timeline: Timeline, width: int) -> list[Markup]:
    """Right-aligned on the title's line: the kinds that occur, in order of their definition."""
    present = {span.pass_.kind for spans in timeline.spans for span in spans}
    parts, x = [], width - 10
    for kind in reversed([kind for kind in Kind if kind in present]):
        x -= 30 + math.ceil(6.4 * len(NAMES[kind]))
        box = mark("rect", x=x, y=8, width=12, height=12, fill=COLOURS[kind])
        parts.append(together(box, _text(x + 16, 18, NAMES[kind])))
    return parts


def _axis(length: float, scale: float, y: int, width: int) -> list[Markup]:
    parts = [mark("line", x1=_LEFT, y1=y, x2=width - 10, y2=y, stroke=_FAINT)]
    if length <= 0:
        return parts
    step = _round_step(length / 8)
    for tick in range(int(length / step + 1e-9) + 1):
        x = f"{_LEFT + tick * step * scale:.2f}"
        label = _text(x, y + 16, _seconds(tick * step), "#555555", text_anchor="middle")
        parts.append(together(mark("line", x1=x, y1=y, x2=x, y2=y + 4, stroke=_FAINT), label))
    return parts


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _seconds(value: float) -> str:
    if value == 0:
        return "0"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if abs(value) * factor >= 1:
            return f"{value * factor:.4g} {unit}"
    return f"{value:.3g} s"
