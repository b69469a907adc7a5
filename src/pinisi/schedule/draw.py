"""Draws a Timeline, predicted or measured, as an SVG picture: a row per rank, a colour per kind of pass."""

from __future__ import annotations

import math
from html import escape

from pinisi.schedule.table import Kind
from pinisi.schedule.timeline import Span, Timeline

# Pairs that belong together share a hue: F and the backward passes blue to green, S and T orange, E and G
# purple.
COLOURS = {
    Kind.E: "#c9b3e6",
    Kind.F: "#8fb8f0",
    Kind.S: "#f5c26b",
    Kind.T: "#e88f4f",
    Kind.B: "#7fd0b8",
    Kind.W: "#b5dd8c",
    Kind.BW: "#6fc08f",
    Kind.G: "#9678c8",
}
NAMES = {
    Kind.E: "embedding",
    Kind.F: "forward",
    Kind.S: "head S",
    Kind.T: "head T",
    Kind.B: "input gradient",
    Kind.W: "weight gradient",
    Kind.BW: "backward",
    Kind.G: "embedding gradient",
}
_LEFT, _TOP, _ROW, _GAP, _FOOT = 64, 30, 22, 4, 34  # pixels


def draw(timeline: Timeline, *, title: str = "", width: int = 1200, until: float | None = None) -> str:
    """Return an SVG document. until: seconds that fill the width (the makespan if not given), so that two
    timelines can be drawn to one scale; what comes later is cut off."""
    origin = min((spans[0].start for spans in timeline.spans if spans), default=0.0)
    length = until if until is not None else timeline.makespan
    scale = (width - _LEFT - 10) / length if length > 0 else 0.0
    height = _TOP + len(timeline.spans) * (_ROW + _GAP) + _FOOT
    name = escape(title or _default_title(timeline))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" role="img"'
        f' aria-label="{name}" font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-size="13" font-weight="600" fill="#222222">{name}</text>',
        *_legend(timeline, width),
    ]
    for rank, spans in enumerate(timeline.spans):
        y = _TOP + rank * (_ROW + _GAP)
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end" fill="#222222">rank {rank}</text>'
            f'<rect x="{_LEFT}" y="{y}" width="{width - _LEFT - 10}" height="{_ROW}" fill="#f2f2f2"/>'
        )
        parts += [_box(span, y, origin, scale) for span in spans if span.start - origin < length]
    parts += _axis(length, scale, _TOP + len(timeline.spans) * (_ROW + _GAP), width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _default_title(timeline: Timeline) -> str:
    schedule = timeline.schedule
    barriers = schedule.layout.barriers
    return (
        f"{schedule.name}, {schedule.layout.ranks} ranks, {schedule.microbatches} microbatches,"
        f" {barriers} barrier{'' if barriers == 1 else 's'}: {_seconds(timeline.makespan)}"
    )


def _box(span: Span, y: int, origin: float, scale: float) -> str:
    p, start, end = span
    x, wide = _LEFT + (start - origin) * scale, (end - start) * scale
    box = (
        f'<rect x="{x:.2f}" y="{y}" width="{max(wide, 0.3):.2f}" height="{_ROW}" fill="{COLOURS[p.kind]}"'
        f' stroke="#ffffff" stroke-width="{0.5 if wide > 3 else 0}"><title>{p}: {_seconds(end - start)} from'
        f" {_seconds(start - origin)}</title></rect>"
    )
    label = str(p.microbatch)
    if wide > 4 + 6.5 * len(label):
        box += f'<text x="{x + wide / 2:.2f}" y="{y + 15}" text-anchor="middle" fill="#1a1a1a">{label}</text>'
    return box


def _legend(timeline: Timeline, width: int) -> list[str]:
    """Right-aligned on the title's line: the kinds that occur, in order of their definition."""
    present = {span.pass_.kind for spans in timeline.spans for span in spans}
    parts, x = [], width - 10
    for kind in reversed([kind for kind in Kind if kind in present]):
        x -= 30 + math.ceil(6.4 * len(NAMES[kind]))
        parts.append(
            f'<rect x="{x}" y="8" width="12" height="12" fill="{COLOURS[kind]}"/>'
            f'<text x="{x + 16}" y="18" fill="#222222">{NAMES[kind]}</text>'
        )
    return parts


def _axis(length: float, scale: float, y: int, width: int) -> list[str]:
    parts = [f'<line x1="{_LEFT}" y1="{y}" x2="{width - 10}" y2="{y}" stroke="#888888"/>']
    if length <= 0:
        return parts
    step = _round_step(length / 8)
    for tick in range(int(length / step + 1e-9) + 1):
        x = _LEFT + tick * step * scale
        label = _seconds(tick * step)
        parts.append(
            f'<line x1="{x:.2f}" y1="{y}" x2="{x:.2f}" y2="{y + 4}" stroke="#888888"/>'
            f'<text x="{x:.2f}" y="{y + 16}" text-anchor="middle" fill="#555555">{label}</text>'
        )
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
