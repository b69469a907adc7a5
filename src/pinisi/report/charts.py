"""Draws charts as inline SVG. Colours are CSS variables, so that light and dark are one drawing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pinisi.report.marks import NARROW, chart, mark, together, words
from pinisi.report.numbers import memory, tick_label, ticks

MOST_POINTS = 400  # of a line; longer ones are averaged in groups of steps
Place = Callable[[float, float], tuple[float, float]]


@dataclass
class Line:
    """One series: points (x, y) by x. `dots` draws points and a thin line instead of a line."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str  # the number of a CSS variable --c1 ... --c8, or "soft"
    dots: bool = False


@dataclass
class Frame:
    """The part of a line chart in which its lines are drawn, in SVG units, and the values at its edges."""

    width: int
    height: int
    small: bool
    xs: tuple[float, float]
    ys: tuple[float, float]

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, right, top, bottom."""
        left, right, top, bottom = (38, 8, 8, 18) if self.small else (58, 14, 12, 30)
        return left, self.width - right, top, self.height - bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, right, top, bottom = self.edges
        (first, last), (low, high) = self.xs, self.ys
        return left + (x - first) / (last - first) * (right - left), top + (high - y) / (high - low) * (
            bottom - top
        )


def thin(
    points: Sequence[tuple[float, float]], most: int = MOST_POINTS
) -> tuple[list[tuple[float, float]], int]:
    """At most `most` points, each the mean of a group of neighbours, and how many make a group."""
    size = -(-len(points) // most) if points else 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups], size


def line_chart(
    lines: Sequence[Line],
    *,
    width: int,
    height: int,
    unit: str,
    label: str,
    y_range: tuple[float, float] | None = None,
    small: bool = False,
) -> Markup:
    """Lines over steps, with the readings of the step under the pointer (see templates/run.js)."""
    drawn = [(line, thin(line.points)[0]) for line in lines if line.points]
    xs = [x for _, points in drawn for x, _ in points]
    ys = y_range or padded([y for _, points in drawn for _, y in points])
    frame = Frame(width, height, small, (min(xs), max(max(xs), min(xs) + 1)), ys)
    _, _, top, bottom = frame.edges
    data = {
        "unit": unit,
        "top": top,
        "bottom": bottom,
        "series": [readings(line, points, frame) for line, points in drawn],
    }
    cursor = mark("line", class_="cursor", y1=top, y2=bottom)
    inside = [draw_line(line, points, frame) for line, points in drawn]
    return chart(width, height, label, axes(frame), *inside, cursor, data_chart=json.dumps(data))


def readings(line: Line, points: Sequence[tuple[float, float]], frame: Frame) -> dict[str, Any]:
    """What the pointer shows: values of six digits, places of one decimal, at a third of the size."""
    rows = []
    for x, y in points:
        px, py = frame.at(x, y)
        rows.append([x, float(f"{y:.6g}"), round(px, 1), round(py, 1)])
    return {"name": line.name, "colour": line.colour, "points": rows}


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The values' range with a twentieth of air on both sides."""
    low, high = min(values), max(values)
    air = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - air, high + air


def axes(frame: Frame) -> Markup:
    """Grid lines and numbers of both axes."""
    left, right, _, _ = frame.edges
    out = []
    for value in ticks(*frame.ys, 3 if frame.small else 5):
        y = frame.at(frame.xs[0], value)[1]
        out.append(mark("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
        out.append(words("tick", left - 6, y + 3.5, tick_label(value), "end"))
    for value in ticks(*frame.xs, 3 if frame.small else 8):
        if value == int(value):
            x = frame.at(value, frame.ys[0])[0]
            out.append(words("tick", x, frame.height - (4 if frame.small else 12), tick_label(value)))
    return together(*out)


def upright(kind: str, x: float, y1: float, y2: float) -> Markup:
    """A line from the top downwards."""
    return mark("line", class_=kind, x1=float(x), x2=float(x), y1=y1, y2=y2)


def draw_line(line: Line, points: Sequence[tuple[float, float]], frame: Frame) -> Markup:
    colour = "var(--soft)" if line.colour == "soft" else f"var(--c{line.colour})"
    places = [frame.at(x, y) for x, y in points]
    out = mark(
        "polyline",
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        fill="none",
        stroke=colour,
        stroke_width=1.4 if frame.small or line.dots else 1.8,
        stroke_dasharray="2 3" if line.dots else None,
    )
    if line.dots or len(places) == 1:  # a line of one point would not be seen
        dot = dict(class_="dot", r=2.6 if frame.small else 3.6, fill=colour)
        out += together(*(mark("circle", **dot, cx=x, cy=y) for x, y in places))
    return out


def dumbbells(rows: Sequence[tuple[str, float, float]], *, width: int, before: str, after: str) -> Markup:
    """A row per (name, before, after): a ring, a line and a dot on one scale from zero."""
    step, left, right, top = 24, 62, 64, 26
    height = top + step * len(rows) + 8
    high = max(max(b, a) for _, b, a in rows) * 1.02

    def at(value: float) -> float:
        return left + value / high * (width - left - right)

    out = []
    for value in ticks(0, high, 8 if width > NARROW else 4):
        out.append(upright("grid", at(value), top - 6, height - 4))
        out.append(words("tick", at(value), top - 12, tick_label(value)))
    for index, (name, b, a) in enumerate(rows):
        y = top + step * index + step / 2
        fell = a <= b
        change = f"−{(1 - a / b) * 100:.0f} %" if fell else f"+{(a / b - 1) * 100:.0f} %"
        dot = dict(class_="dot", r=5.5, fill="var(--c1)" if fell else "var(--c2)")
        row = (
            mark("title", f"{name}: {b:.3f} {before}, {a:.3f} {after} (bits per byte)"),
            mark("rect", class_="hit", x=0, y=y - step / 2, width=width, height=step),
            words("name", left - 14, y + 4, name, "end"),
            mark("line", class_="stem", x1=at(a), x2=at(b), y1=y, y2=y),
            mark("circle", class_="ring", cx=at(b), cy=y, r=4.5),
            mark("circle", **dot, cx=at(a), cy=y),
            words("value", width - 4, y + 4, change, "end"),
        )
        out.append(mark("g", *row))
    return chart(width, height, f"bits per byte by language, {before} and {after}", *out)


def stacked_bars(ranks: Sequence[dict], parts: Sequence[str], *, width: int) -> Markup:
    """A bar per rank, a segment per part (bytes), and a mark at the measured peak."""
    step, left, right, top = 34, 62, 84, 26
    height = top + step * len(ranks) + 6
    totals = [sum(item["parts"].values()) for item in ranks]
    high = max([*totals, *(item["peak"] or 0 for item in ranks)]) * 1.02 or 1.0
    scale = (width - left - right) / high
    unit = 1024.0 ** next((power for power in (4, 3, 2, 1) if high >= 1024**power), 0)
    out = []
    for value in ticks(0, high / unit, 6):
        x = left + value * unit * scale
        out.append(upright("grid", x, top - 6, height))
        out.append(words("tick", x, top - 12, memory(value * unit).replace(".00", "")))
    for index, item in enumerate(ranks):
        y = top + step * index + 5
        out.append(words("name", left - 10, y + 16, f"rank {item['rank']}", "end"))
        out.append(segments(item, parts, (left, y, step - 10), scale))
        if item["peak"]:
            out.append(upright("peak", left + item["peak"] * scale, y - 3, y + step - 7))
            out.append(words("value", width - 2, y + 16, memory(item["peak"]), "end"))
    return chart(width, height, "memory by rank and part", *out)


def segments(item: dict, parts: Sequence[str], place: tuple[int, int, int], scale: float) -> Markup:
    """One rank's parts, end to end. place: left, top, height."""
    left, top, height = place
    x, out = float(left), []
    for number, part in enumerate(parts, 1):
        size = item["parts"].get(part, 0) * scale
        if size > 0:
            said = mark("title", f"rank {item['rank']}: {part} {memory(item['parts'][part])}")
            box = dict(x=x, y=top, width=max(size - 1.5, 0.5), height=height, rx=2)
            out.append(mark("rect", said, **box, fill=f"var(--c{number})"))
        x += size
    return together(*out)
