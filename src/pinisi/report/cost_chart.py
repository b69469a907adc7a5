"""Draws what text costs in tokens: a row per language, in it a lane per tokenizer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pinisi.report import numbers
from pinisi.report.charts import upright
from pinisi.report.marks import chart, mark, together, words

COLOURS = 8  # of the style sheet; more tokenizers begin anew
WIDE = 1080  # SVG units; drawn twice, so that letters are as large on a telephone
LANE = 9  # SVG units between two tokenizers' dots
TOP, RIGHT = 26, 22
At = Callable[[float], float]


def dots(result: Mapping[str, Any], languages: Sequence[str], width: int) -> Markup:
    """A row per language: of each tokenizer a line from the reference's cost to a dot."""
    names = list(result["tokenizers"])
    left = 170 if width == WIDE else 96
    step = max(26, LANE * len(names) + 12)
    height = TOP + step * len(languages) + 8
    costs = {code: [result["languages"][code]["tokenizers"][name] for name in names] for code in languages}
    high = max([1.0, *(each["cost"] for of in costs.values() for each in of if each["cost"])]) * 1.04

    def at(value: float) -> float:
        return left + value / high * (width - left - RIGHT)

    out = list(_scale(high, height, at, about=10 if width == WIDE else 5))
    for row, code in enumerate(languages):
        y = TOP + step * row + step / 2
        label = _label(result, code, most=22 if width == WIDE else 12)
        inside = (
            mark("title", f"{name_of(result, code)}: {_figures(names, costs[code])}"),
            mark("rect", class_="hit", x=0, y=y - step / 2, width=width, height=step),
            words("name", left - 12, y + 4, label, "end"),
            _lanes(costs[code], y, at),
        )
        out.append(mark("g", *inside))
    said = "tokens against the reference by language and tokenizer"
    return chart(width, height, said, *out)


def name_of(result: Mapping[str, Any], code: str) -> str:
    return result["languages"].get(code, {}).get("name", code)


def colour(number: int) -> str:
    """The CSS variable of a tokenizer's colour, by its place."""
    return f"c{number % COLOURS + 1}"


def _scale(high: float, height: int, at: At, about: int) -> Iterator[Markup]:
    for value in numbers.ticks(0, high, about):
        yield upright("grid", at(value), TOP - 6, height - 4)
        yield words("tick", at(value), TOP - 12, numbers.tick_label(value) + " ×")
    yield upright("peak", at(1), TOP - 6, height - 4)


def _figures(names: Sequence[str], figures: Sequence[Mapping[str, Any]]) -> str:
    pairs = zip(names, figures, strict=True)
    return "; ".join(f"{name} {each['cost']:.2f}" for name, each in pairs if each["cost"] is not None)


def _lanes(figures: Sequence[Mapping[str, Any]], middle: float, at: At) -> Markup:
    out = []
    for number, each in enumerate(figures):
        if each["cost"] is None:
            continue
        y = middle + (number - (len(figures) - 1) / 2) * LANE
        shade = f"var(--{colour(number)})"
        look = {"fill": shade}
        if each["basis"] != "parallel":
            look = {"fill": "var(--card)", "style": f"stroke:{shade};stroke-width:2.5"}
        out.append(mark("line", class_="stem", x1=at(1), x2=at(each["cost"]), y1=y, y2=y))
        out.append(mark("circle", class_="dot", cx=at(each["cost"]), cy=y, r=4.5, **look))
    return together(*out)


def _label(result: Mapping[str, Any], code: str, most: int) -> str:
    name = name_of(result, code)
    return name if len(name) <= most else code
