"""Charts as inline SVG. Colours are CSS variables, so that light and dark are one drawing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pinisi.report.numbers import memory, tick_label, ticks

MOST_POINTS = 400  # of a line; longer ones are averaged in groups of steps


@dataclass
class Line:
    """One series: points (x, y) by x. `dots` draws points and a thin line instead of a line."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str  # the number of a CSS variable --c1 ... --c8, or "soft"
    dots: bool = False


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
) -> str:
    """Lines over steps, with the readings of the step under the pointer (see script.py)."""
    drawn = [(line, thin(line.points)[0]) for line in lines if line.points]
    xs = [x for _, points in drawn for x, _ in points]
    low, high = y_range or padded([y for _, points in drawn for _, y in points])
    left, right, top, bottom = (38, 8, 8, 18) if small else (58, 14, 12, 30)
    first, last = min(xs), max(max(xs), min(xs) + 1)
    w, h = width - left - right, height - top - bottom

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - first) / (last - first) * w, top + (high - y) / (high - low) * h

    out = [axes(first, last, low, high, at, width, height, left, right, small)]
    series = []
    for line, points in drawn:
        places = [at(x, y) for x, y in points]
        out.append(draw_line(line, places, small))
        series.append(
            {
                "name": line.name,
                "colour": line.colour,
                "points": [[x, y, *xy] for (x, y), xy in zip(points, places, strict=True)],
            }
        )
    data = json.dumps({"unit": unit, "top": top, "bottom": height - bottom, "series": rounded(series)})
    out.append(f'<line class="cursor" y1="{top}" y2="{height - bottom}"/>')
    return svg(width, height, label, "".join(out), f' data-chart="{escape(data)}"')


def rounded(series: list[dict]) -> list[dict]:
    """Four decimals for values, one for places: what the pointer shows, at a third of the size."""
    for item in series:
        item["points"] = [
            [x, float(f"{y:.6g}"), round(px, 1), round(py, 1)] for x, y, px, py in item["points"]
        ]
    return series


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The values' range with a twentieth of air on both sides."""
    low, high = min(values), max(values)
    air = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - air, high + air


def axes(first, last, low, high, at, width, height, left, right, small) -> str:
    """Grid lines and numbers of both axes."""
    out = []
    for value in ticks(low, high, 3 if small else 5):
        y = at(first, value)[1]
        out.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(text("tick", left - 6, y + 3.5, tick_label(value), "end"))
    steps = [value for value in ticks(first, last, 3 if small else 8) if value == int(value)]
    for value in steps:
        x = at(value, low)[0]
        out.append(text("tick", x, height - (4 if small else 12), tick_label(value)))
    return "".join(out)


def draw_line(line: Line, places: list[tuple[float, float]], small: bool) -> str:
    colour = "var(--soft)" if line.colour == "soft" else f"var(--c{line.colour})"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="2 3"' if line.dots else ""
    width = 1.4 if small or line.dots else 1.8
    out = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
    if line.dots or len(places) == 1:  # a line of one point would not be seen
        size = 2.6 if small else 3.6
        dot = f'<circle class="dot" r="{size}" fill="{colour}"'
        out += "".join(f'{dot} cx="{x:.1f}" cy="{y:.1f}"/>' for x, y in places)
    return out


def dumbbells(rows: Sequence[tuple[str, float, float]], *, width: int, before: str, after: str) -> str:
    """A row per (name, before, after): a ring, a line and a dot on one scale from zero."""
    step, left, right, top = 24, 62, 64, 26
    height = top + step * len(rows) + 8
    high = max(max(b, a) for _, b, a in rows) * 1.02

    def at(value: float) -> float:
        return left + value / high * (width - left - right)

    out = []
    for value in ticks(0, high, 8):
        x = at(value)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 4}"/>')
        out.append(
            f'<text class="tick" x="{x:.1f}" y="{top - 12}" text-anchor="middle">{tick_label(value)}</text>'
        )
    for index, (name, b, a) in enumerate(rows):
        y = top + step * index + step / 2
        colour, change = (
            ("c1", f"−{(1 - a / b) * 100:.0f} %") if a <= b else ("c2", f"+{(a / b - 1) * 100:.0f} %")
        )
        out.append(
            f"<g><title>{escape(f'{name}: {b:.3f} {before}, {a:.3f} {after} (bits per byte)')}</title>"
            f'<rect class="hit" x="0" y="{y - step / 2}" width="{width}" height="{step}"/>'
            f"{text('name', left - 14, y + 4, name, 'end')}"
            f'<line class="stem" x1="{at(a):.1f}" x2="{at(b):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="ring" cx="{at(b):.1f}" cy="{y}" r="4.5"/>'
            f'<circle class="dot" cx="{at(a):.1f}" cy="{y}" r="5.5" fill="var(--{colour})"/>'
            f"{text('value', width - 4, y + 4, change, 'end')}</g>"
        )
    return svg(width, height, f"bits per byte by language, {before} and {after}", "".join(out))


def stacked_bars(ranks: Sequence[dict], parts: Sequence[str], *, width: int) -> str:
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
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height}"/>')
        out.append(text("tick", x, top - 12, memory(value * unit).replace(".00", "")))
    for index, item in enumerate(ranks):
        y = top + step * index + 5
        out.append(
            f'<text class="name" x="{left - 10}" y="{y + 16}" text-anchor="end">rank {item["rank"]}</text>'
        )
        x = float(left)
        for number, part in enumerate(parts, 1):
            size = item["parts"].get(part, 0) * scale
            if size > 0:
                box = f'x="{x:.1f}" y="{y}" width="{max(size - 1.5, 0.5):.1f}" height="{step - 10}" rx="2"'
                out.append(
                    f'<rect {box} fill="var(--c{number})">'
                    f"<title>rank {item['rank']}: {escape(part)} {memory(item['parts'][part])}</title></rect>"
                )
            x += size
        if item["peak"]:
            px = left + item["peak"] * scale
            out.append(f'<line class="peak" x1="{px:.1f}" x2="{px:.1f}" y1="{y - 3}" y2="{y + step - 7}"/>')
            out.append(text("value", width - 2, y + 16, memory(item["peak"]), "end"))
    return svg(width, height, "memory by rank and part", "".join(out))


WIDE = 600  # px: narrower charts fit a phone as they are


def svg(width: int, height: int, label: str, inside: str, more: str = "", *, scrolls: bool = True) -> str:
    """Draws a chart; one that scrolls does so, on a phone, before its words become too small to read (10 of 12 px)."""
    head = f'class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}"{more}'
    if not scrolls or width < WIDE:
        return f"<svg {head}>{inside}</svg>"
    return f'<div class="scroll"><svg {head} style="min-width:{width * 5 // 6}px">{inside}</svg></div>'


def text(kind: str, x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
