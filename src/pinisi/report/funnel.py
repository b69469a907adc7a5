"""Draws what a curation keeps and drops: for each language a bar of the kept share, then of what each rule took."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pinisi.report.marks import NARROW, chart, mark, words
from pinisi.report.numbers import count, percent, short

WIDE = 1080  # SVG units
STEP, LEFT = 26, 60
COLOURS = ("c2", "c1", "c5", "c4", "c6", "c7")  # of the rules that take most
STAGES = {"read": "first pass", "near": "duplicates", "finish": "second pass"}
Share = tuple[str, int, str]  # label, documents, colour
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
    """The chart in two forms, and its legend; nothing where no document was read."""
    rules = rules_of(languages)
    shown, rest = rules[: len(COLOURS)], rules[len(COLOURS) :]
    key = [("c3", "kept"), *((COLOURS[n], name_of(rule)) for n, rule in enumerate(shown))]
    if rest:
        key.append(("c8", "other rules"))
    bars = [
        (language, of["documents"], list(_shares(of, shown, rest)))
        for language, of in sorted(languages.items())
    ]
    return {"legend": key, "wide": _drawn(bars, WIDE), "narrow": _drawn(bars, NARROW)} if bars else {}


def _drawn(bars: Sequence[tuple[str, int, Sequence[Share]]], width: int) -> Markup:
    """A bar a language, with the share that is kept beside it."""
    right, out = 150 if width > NARROW else 58, []
    for index, (language, documents, shares) in enumerate(bars):
        y, total = STEP * index + 6, max(1, documents)
        out.append(words("name", LEFT - 10, y + 14, language, "end"))
        out += _pieces(language, shares, total, y, width - LEFT - right)
        note = percent(shares[0][1] / total)
        note = f"{note} of {short(total)}" if width > NARROW else note
        out.append(words("value", width - 4, y + 14, note, "end"))
    return chart(width, STEP * len(bars) + 10, "documents kept and dropped by language", *out)


def _shares(of: Mapping[str, Any], shown: Sequence[str], rest: Sequence[str]) -> Iterator[Share]:
    """What is kept, what each rule shown took, and what the others together took."""
    yield "kept", of["kept"], "c3"
    for number, rule in enumerate(shown):
        yield name_of(rule), of["drops"].get(rule, 0), COLOURS[number]
    yield "other rules", sum(of["drops"].get(rule, 0) for rule in rest), "c8"


def _pieces(language: str, shares: Sequence[Share], total: int, y: int, width: int) -> Iterator[Markup]:
    """A language's bar, piece by piece."""
    x = float(LEFT)
    for label, number, colour in shares:
        size = number / total * width
        if size > 0:
            said = f"{language}: {label}, {count(number)} documents, {percent(number / total)}"
            box = dict(x=x, y=y, width=max(size - 1, 0.6), height=STEP - 8, rx=2)
            yield mark("rect", mark("title", said), **box, fill=f"var(--{colour})")
        x += size
