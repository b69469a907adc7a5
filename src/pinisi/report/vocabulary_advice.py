"""Writes the page of what vocabularies of several sizes cost and bring, from the dictionary of cookbook/vocabulary_advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pinisi.base.files import write_whole
from pinisi.report import numbers
from pinisi.report.marks import NARROW, chart, mark, together, words
from pinisi.report.render import render

WIDE = 1080  # SVG units; drawn twice, so that letters are as large on a telephone
STEP, TOP = 30, 24


def write_advice(result: Mapping[str, Any], path: str | Path) -> Path:
    """Writes the page, one HTML file that loads nothing; returns where it is."""
    return write_whole(path, advice_page(result))


def advice_page(result: Mapping[str, Any]) -> str:
    """The page's HTML, which is also well-formed XML."""
    lead = f"{result['devices']} × {result['hardware']}, bytes of each language count alike"
    return render(
        "vocabulary_advice.html",
        title=f"A vocabulary for {result['model']}",
        lead=lead,
        sentence=_sentence(result),
        cost={"wide": cost_bars(result, WIDE), "narrow": cost_bars(result, NARROW)},
        rows=list(_rows(result)),
        heads=[f"{row['rows']:,}" for row in result["sizes"]],
        languages=list(_languages(result)),
        published=[(name, f"{size:,.0f}") for name, size in result["published"].items()],
        base=f"{result['base']['rows']:,}",
        short=result["short"],
    )


def _sentence(result: Mapping[str, Any]) -> str:
    goal = (
        "for the same text" if result["target"] is None else f"to reach {result['target']:.3f} bits per byte"
    )
    flat = [f"{rows:,}" for rows in result["flat"] if rows != result["cheapest"]]
    near = f" {', '.join(flat)} cost at most 2 % more." if flat else " No other size comes within 2 % of it."
    return f"{result['cheapest']:,} rows cost least {goal}.{near}"


def cost_bars(result: Mapping[str, Any], width: int) -> Markup:
    """A bar for each size: its cost against the cheapest one's."""
    least = min(row["cost"] for row in result["sizes"])
    shares = [row["cost"] / least for row in result["sizes"]]
    high = max(value for value in shares if value != float("inf"))
    left, right = (120, 80) if width == WIDE else (78, 62)
    out = []
    for place, (row, share) in enumerate(zip(result["sizes"], shares, strict=True)):
        y = TOP + STEP * place
        endless = share == float("inf")
        length = (width - left - right) * (1.0 if endless else share / high)
        said = "never" if endless else f"{share:.2f} ×"
        shade = "var(--c1)" if row["rows"] == result["cheapest"] else "var(--c2)"
        out += [
            words("name", left - 10, y + 14, f"{row['rows']:,}", "end"),
            mark("rect", x=left, y=y, width=length, height=STEP - 10, fill=shade, rx=3),
            words("name", left + length + 8, y + 14, said, "start"),
        ]
    return chart(
        width, TOP + STEP * len(shares) + 6, "cost of each size against the cheapest", together(*out)
    )


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """Figures of each size, ready to be shown."""
    for row in result["sizes"]:
        seconds = [row["seconds_per_byte"][way] for way in ("with_passes", "without")]
        bits = "–"
        if row["bits"] is not None:
            low, high = row["interval"]
            bits = f"{row['bits']:.3f} ({low:.3f} to {high:.3f})"
        yield [
            f"{row['rows']:,}",
            f"{row['mean_tokens_per_byte']:.4f}",
            f"{row['flops_per_byte'] / 1e9:.2f}",
            *("–" if value is None else f"{1e9 * value:.2f}" for value in seconds),
            bits,
        ]


def _languages(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """What a speaker of each language pays: tokens per byte now and with each size, against the reference language now."""
    before = result["base"]["tokens_per_byte"]
    reference = before.get(result["reference"]) or sum(before.values()) / len(before)
    for language in sorted(before, key=lambda code: -before[code]):
        after = [row["tokens_per_byte"][language] for row in result["sizes"]]
        yield [
            language,
            f"{before[language]:.3f}",
            numbers.percent(before[language] / reference),
            *(f"{value:.3f} ({value / before[language]:.0%})" for value in after),
        ]
