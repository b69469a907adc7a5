"""Draws what a curation keeps and drops: for each language a bar of the kept share, then of what each rule took."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pinisi.report.marks import chart, mark, words
from pinisi.report.numbers import count, percent, short

WIDTH = 1080  # SVG units
STEP, LEFT, RIGHT = 26, 60, 150
COLOURS = ("c2", "c1", "c5", "c4", "c6", "c7")  # of the rules that take most
STAGES = {"read": "first pass", "near": "duplicates", "finish": "second pass"}
Languages = Mapping[str, dict[str, Any]]


def rules_of(languages: Languages) -> list[str]:
    """Stage/rule, those that took most documents first."""
    totals: dict[str, int] = {}
    for of in languages.values():
        for rule, number in of["drops"].items():
            totals[rule] = totals.get(rule, 0) + number
    return sorted(totals, key=lambda rule: (-totals[rule], rule))


def name_of(rule: str) -> str:
    """A rule as a reader knows it."""
    stage, _, name = rule.partition("/")
    shown = name.replace("_", " ").replace("bits", "language model")
    return f"{shown} ({STAGES[stage]})" if stage == "finish" else shown


def funnel(languages: Languages) -> dict[str, Any]:
    """The chart and its legend."""
    rules = rules_of(languages)
    shown, rest = rules[: len(COLOURS)], rules[len(COLOURS) :]
    key = [("c3", "kept"), *((COLOURS[n], name_of(rule)) for n, rule in enumerate(shown))]
    if rest:
        key.append(("c8", "other rules"))
    out: list[Markup] = []
    for index, (language, of) in enumerate(sorted(languages.items())):
        y, total = STEP * index + 6, max(1, of["documents"])
        out.append(words("name", LEFT - 10, y + 14, language, "end"))
        out += _pieces(language, list(_shares(of, shown, rest)), total, y)
        note = f"{percent(of['kept'] / total)} of {short(total)}"
        out.append(words("value", WIDTH - 4, y + 14, note, "end"))
    height = STEP * len(languages) + 10
    drawn = chart(WIDTH, height, "documents kept and dropped by language", *out)
    return {"legend": key, "chart": drawn}


def _shares(
    of: Mapping[str, Any], shown: Sequence[str], rest: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    """(label, documents, colour) of what is kept, of each rule shown, and of the others together."""
    yield "kept", of["kept"], "c3"
    for number, rule in enumerate(shown):
        yield name_of(rule), of["drops"].get(rule, 0), COLOURS[number]
    yield "other rules", sum(of["drops"].get(rule, 0) for rule in rest), "c8"


def _pieces(language: str, shares: Sequence[tuple[str, int, str]], total: int, y: int) -> Iterator[Markup]:
    """A language's bar, piece by piece."""
    x, width = float(LEFT), WIDTH - LEFT - RIGHT
    for label, number, colour in shares:
        size = number / total * width
        if size > 0:
            said = f"{language}: {label}, {count(number)} documents, {percent(number / total)}"
            box = dict(x=x, y=y, width=max(size - 1, 0.6), height=STEP - 8, rx=2)
            yield mark("rect", mark("title", said), **box, fill=f"var(--{colour})")
        x += size
