"""The page of what text costs in tokens: languages by tokenizers, from the dictionary of data/fertility."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.report import numbers
from pinisi.report.charts import svg, text
from pinisi.report.sections import legend, missing, section, table
from pinisi.report.style import STYLE

COLOURS = 8  # of the style sheet; more tokenizers begin anew
WIDE, NARROW = (
    1080,
    380,
)  # SVG units: the chart is drawn twice, so that its letters are as large on a telephone
LANE = 9  # SVG units between two tokenizers' dots
STYLE_HERE = """
.narrow{display:none}
@media (max-width:760px){.wide{display:none}.narrow{display:block}section{padding:18px 14px}}
td i.mark{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px}
td.whole{white-space:nowrap}
"""


def write_fertility(
    result: Mapping[str, Any], path: str | Path, *, title: str = "Tokens by language"
) -> Path:
    """Write the page, one HTML file that loads nothing; returns where it is. result: of data.fertility."""
    return write_whole(path, fertility_page(result, title))


def write_fertility_json(result: Mapping[str, Any], path: str | Path) -> Path:
    """The same for programs."""
    return write_whole(path, json.dumps(result, ensure_ascii=False, indent=1) + "\n")


def fertility_page(result: Mapping[str, Any], title: str = "Tokens by language") -> str:
    """The page's HTML, which is also well-formed XML."""
    names = list(result["tokenizers"])
    languages = by_cost(result["languages"], names)
    body = _chart(result, names, languages) + _table(result, names, languages)
    lead = ", ".join(
        f"{name} ({numbers.count(each['vocabulary'])} entries)" for name, each in result["tokenizers"].items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)} · Pinisi</title><style>{STYLE}{STYLE_HERE}</style></head><body>"
        f"<header><p>Pinisi fertility report</p><h1>{escape(title)}</h1><p>{escape(lead)}</p></header>"
        f"<main>{body}</main></body></html>\n"
    )


def by_cost(languages: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Codes, the language that costs most with the first tokenizer first; those without a cost last."""

    def key(code: str) -> tuple[float, str]:
        figures = languages[code]["tokenizers"][names[0]]
        return -(figures["cost"] or 0.0), code

    return sorted(languages, key=key)


def _chart(result: Mapping[str, Any], names: Sequence[str], languages: Sequence[str]) -> str:
    reference = _name_of(result, result["reference"])
    title = f"Cost against {reference}"
    shown = [
        code
        for code in languages
        if any(each["cost"] is not None for each in result["languages"][code]["tokenizers"].values())
    ]
    if not shown:
        return section(
            "cost", title, missing(f"There is no text in {reference}, so there is nothing to compare with.")
        )
    bases = {each["basis"] for code in shown for each in result["languages"][code]["tokenizers"].values()} - {
        None
    }
    lead = f"How many times as many tokens as {escape(reference)} needs. "
    if "parallel" in bases:
        lead += f"Filled: for the same content, {result['parallel_documents']} documents in every language. "
    if "bytes" in bases:
        lead += "Rings: per byte of text, for want of the same content; scripts of more bytes a character look cheaper. "
    drawings = "".join(
        f'<div class="{kind}">{_dots(result, names, shown, width)}</div>'
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    )
    key = legend((f"c{_colour(number)}", name) for number, name in enumerate(names))
    return section("cost", title, key, drawings, lead=lead)


def _dots(result: Mapping[str, Any], names: Sequence[str], languages: Sequence[str], width: int) -> str:
    """A row per language, in it a lane per tokenizer: a line from the reference's cost to a dot."""
    left, right, top = (170 if width == WIDE else 96), 22, 26
    step = max(26, LANE * len(names) + 12)
    height = top + step * len(languages) + 8
    costs = {code: [result["languages"][code]["tokenizers"][name] for name in names] for code in languages}
    high = max([1.0, *(each["cost"] for of in costs.values() for each in of if each["cost"])]) * 1.04

    def at(value: float) -> float:
        return left + value / high * (width - left - right)

    out = []
    for value in numbers.ticks(0, high, 10 if width == WIDE else 5):
        x = f'x1="{at(value):.1f}" x2="{at(value):.1f}"'
        out.append(f'<line class="grid" {x} y1="{top - 6}" y2="{height - 4}"/>')
        out.append(text("tick", at(value), top - 12, numbers.tick_label(value) + " ×"))
    out.append(f'<line class="peak" x1="{at(1):.1f}" x2="{at(1):.1f}" y1="{top - 6}" y2="{height - 4}"/>')
    for row, code in enumerate(languages):
        y = top + step * row + step / 2
        words = "; ".join(
            f"{name} {each['cost']:.2f}"
            for name, each in zip(names, costs[code], strict=True)
            if each["cost"] is not None
        )
        label = _label(result, code, most=22 if width == WIDE else 12)
        out.append(
            f"<g><title>{escape(f'{_name_of(result, code)}: {words}')}</title>"
            f'<rect class="hit" x="0" y="{y - step / 2}" width="{width}" height="{step}"/>'
            f"{text('name', left - 12, y + 4, label, 'end')}{_lanes(costs[code], y, at)}</g>"
        )
    return svg(
        width, height, "tokens against the reference by language and tokenizer", "".join(out), scrolls=False
    )


def _lanes(figures: Sequence[Mapping[str, Any]], middle: float, at: Callable[[float], float]) -> str:
    out = []
    for number, each in enumerate(figures):
        if each["cost"] is None:
            continue
        y = middle + (number - (len(figures) - 1) / 2) * LANE
        x, colour = at(each["cost"]), f"var(--c{_colour(number)})"
        fill = f'fill="{colour}"'
        if each["basis"] != "parallel":
            fill = f'fill="var(--card)" style="stroke:{colour};stroke-width:2.5"'
        out.append(f'<line class="stem" x1="{at(1):.1f}" x2="{x:.1f}" y1="{y}" y2="{y}"/>')
        out.append(f'<circle class="dot" cx="{x:.1f}" cy="{y}" r="4.5" {fill}/>')
    return "".join(out)


def _table(result: Mapping[str, Any], names: Sequence[str], languages: Sequence[str]) -> str:
    head = ["language", "tokenizer", "cost", "per word", "per character", "per byte"]
    head += ["pieces", "unknown", "tokens", "documents"]
    rows = []
    for code in languages:
        found = result["languages"][code]
        for number, name in enumerate(names):
            each = found["tokenizers"][name]
            first = number == 0
            mark = f'<i class="mark" style="background:var(--c{_colour(number)})"></i>'
            rows.append(
                (
                    f"{escape(found['name'])} <small>{escape(code)}</small>" if first else "",
                    mark + escape(name),
                    _figure(each["cost"], 2) + (" °" if each["basis"] == "bytes" else ""),
                    _figure(each["tokens_per_word"], 2),
                    _figure(each["tokens_per_character"], 3),
                    _figure(each["tokens_per_byte"], 3),
                    _share(each["pieces"]),
                    _share(each["unknown"]),
                    numbers.count(each["tokens"]),
                    numbers.count(found["documents"]) if first else "",
                )
            )
    made = table(head, rows, text_columns=2).replace(
        '<td><i class="mark"', '<td class="whole"><i class="mark"'
    )
    lead = (
        "Tokens per word (by Unicode's word boundaries; – where the script puts no spaces between words), per "
        "character and per byte of text. Pieces: share of tokens that are bytes or parts of a character. Unknown: "
        "share that stands for what the tokenizer does not know. Cost: tokens over the reference's for the same "
        "content, or with ° per byte."
    )
    return section("tokens", "All figures", made, lead=lead)


def _name_of(result: Mapping[str, Any], code: str) -> str:
    return result["languages"].get(code, {}).get("name", code)


def _label(result: Mapping[str, Any], code: str, most: int) -> str:
    name = _name_of(result, code)
    return name if len(name) <= most else code


def _colour(number: int) -> int:
    return number % COLOURS + 1


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else numbers.percent(value)
