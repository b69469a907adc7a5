"""Draws scores with their intervals: a row for each language, in it a lane for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from markupsafe import Markup

from pinisi.report import numbers
from pinisi.report.charts import padded, upright
from pinisi.report.cost_chart import WIDE, colour
from pinisi.report.marks import NARROW, chart, mark, together, words
from pinisi.report.numbers import is_number

LANE, TOP, RIGHT = 10, 26, 24  # SVG units: between two models' dots, above and beside the rows
LABEL_UNIT = 7.2  # SVG units of a letter of a row's name, about
At = Callable[[float], float]


@dataclass(frozen=True)
class ScoreRow:
    """One row: a name, and of each model a score {"value", "low", "high"}, or None. level: what is marked besides: chance."""

    name: str
    scores: Sequence[Mapping[str, Any] | None]
    level: float | None = None


@dataclass(frozen=True)
class ScoreUnit:
    """How numbers of a chart are written: times `scale`, with `digits` decimals (none from a thousand on), then `sign`."""

    scale: float = 1.0
    digits: int = 3
    sign: str = ""

    def text(self, value: Any, *, signed: bool = False) -> str:
        if not is_number(value):
            return "–"
        shown = self.scale * value
        digits = self.digits if abs(shown) < 1000 else 0
        return f"{shown:{'+' if signed else ''},.{digits}f}{self.sign}"


def both_widths(
    rows: Sequence[ScoreRow], models: Sequence[str], unit: ScoreUnit, label: str, *, zero: bool = False
) -> dict[str, Markup] | None:
    """The chart for a desk and for a telephone; None where there is nothing to draw. zero: mark it, as of differences."""
    scores = [each for row in rows for each in row.scores if _drawn(each)]
    values = [each[key] for each in scores for key in ("value", "low", "high")]
    if not values:
        return None
    values += [row.level for row in rows if row.level is not None] + ([0.0] if zero else [])
    scale = padded(values)
    sizes = {"wide": WIDE, "narrow": NARROW}
    return {name: _intervals(rows, models, unit, label, scale, width, zero) for name, width in sizes.items()}


def _drawn(score: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return score is not None and all(is_number(score.get(key)) for key in ("value", "low", "high"))


def _intervals(
    rows: Sequence[ScoreRow],
    models: Sequence[str],
    unit: ScoreUnit,
    label: str,
    scale: tuple[float, float],
    width: int,
    zero: bool,
) -> Markup:
    most = 26 if width == WIDE else 12
    labels = [row.name if len(row.name) <= most else row.name[: most - 1] + "…" for row in rows]
    left = 24 + LABEL_UNIT * max(map(len, labels))
    step = max(26, LANE * len(models) + 14)
    height = TOP + step * len(rows) + 8
    low, high = scale

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - RIGHT)

    out = list(_scale(scale, height, at, unit, about=8 if width == WIDE else 4))
    if zero:
        out.append(upright("peak", at(0.0), TOP - 6, height - 4))
    for number, (row, name) in enumerate(zip(rows, labels, strict=True)):
        y = TOP + step * number + step / 2
        inside = [
            mark("title", f"{row.name}: {_told(row, models, unit)}"),
            mark("rect", class_="hit", x=0, y=y - step / 2, width=width, height=step),
            words("name", left - 12, y + 4, name, "end"),
            _lanes(row.scores, y, at),
        ]
        if row.level is not None:
            inside.append(upright("level", at(row.level), y - step / 2 + 3, y + step / 2 - 3))
        out.append(mark("g", *inside))
    return chart(width, height, label, *out)


def _scale(scale: tuple[float, float], height: int, at: At, unit: ScoreUnit, about: int) -> Iterator[Markup]:
    for value in numbers.ticks(scale[0] * unit.scale, scale[1] * unit.scale, about):
        x = at(value / unit.scale)
        yield upright("grid", x, TOP - 6, height - 4)
        yield words("tick", x, TOP - 12, numbers.tick_label(value) + unit.sign)


def _told(row: ScoreRow, models: Sequence[str], unit: ScoreUnit) -> str:
    pairs = zip(models, row.scores, strict=True)
    return "; ".join(
        f"{name} {unit.text(each['value'])} ({unit.text(each['low'])} to {unit.text(each['high'])})"
        for name, each in pairs
        if each is not None
    )


def _lanes(scores: Sequence[Mapping[str, Any] | None], middle: float, at: At) -> Markup:
    out = []
    for number, each in enumerate(scores):
        if not _drawn(each):
            continue
        y = middle + (number - (len(scores) - 1) / 2) * LANE
        shade = f"var(--{colour(number)})"
        out.append(
            mark("line", x1=at(each["low"]), x2=at(each["high"]), y1=y, y2=y, stroke=shade, stroke_width=2)
        )
        out.append(mark("circle", class_="dot", cx=at(each["value"]), cy=y, r=4.5, fill=shade))
    return together(*out)
