"""Writes the page of what text costs in tokens: languages by tokenizers, from the dictionary of data/fertility."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.base.results import write_result
from pinisi.report import numbers
from pinisi.report.cost_chart import WIDE, colour, dots, name_of
from pinisi.report.marks import NARROW
from pinisi.report.render import render


def write_fertility(
    result: Mapping[str, Any], path: str | Path, *, title: str = "Tokens by language"
) -> Path:
    """Write the page, one HTML file that loads nothing; returns where it is. result: of data.fertility."""
    return write_whole(path, fertility_page(result, title))


def write_fertility_json(result: Mapping[str, Any], path: str | Path) -> Path:
    """Writes the same for programs; - is standard output. Returns where it is."""
    write_result(path, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return Path(path)


def fertility_page(result: Mapping[str, Any], title: str = "Tokens by language") -> str:
    """The page's HTML, which is also well-formed XML."""
    names = list(result["tokenizers"])
    languages = by_cost(result["languages"], names)
    lead = ", ".join(
        f"{name} ({numbers.count(each['vocabulary'])} entries)" for name, each in result["tokenizers"].items()
    )
    cost, rows = _cost(result, names, languages), list(_rows(result, names, languages))
    return render("fertility.html", title=title, lead=lead, cost=cost, rows=rows)


def by_cost(languages: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Codes, the language that costs most with the first tokenizer first; those without a cost last."""

    def key(code: str) -> tuple[float, str]:
        figures = languages[code]["tokenizers"][names[0]]
        return -(figures["cost"] or 0.0), code

    return sorted(languages, key=key)


def _cost(result: Mapping[str, Any], names: Sequence[str], languages: Sequence[str]) -> dict[str, Any]:
    """The chart, wide and narrow, of the languages that have a cost."""
    figures = {code: list(result["languages"][code]["tokenizers"].values()) for code in languages}
    shown = [code for code in languages if any(each["cost"] is not None for each in figures[code])]
    bases = {each["basis"] for code in shown for each in figures[code]}
    return {
        "reference": name_of(result, result["reference"]),
        "parallel": result["parallel_documents"] if "parallel" in bases else None,
        "bytes": "bytes" in bases,
        "legend": [(colour(number), name) for number, name in enumerate(names)],
        "wide": dots(result, shown, WIDE) if shown else None,
        "narrow": dots(result, shown, NARROW) if shown else None,
    }


def _rows(
    result: Mapping[str, Any], names: Sequence[str], languages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row per language and tokenizer; the language is named in its first."""
    for code in languages:
        found = result["languages"][code]
        for number, name in enumerate(names):
            each = found["tokenizers"][name]
            yield {
                "language": found["name"] if number == 0 else "",
                "code": code if number == 0 else "",
                "colour": colour(number),
                "tokenizer": name,
                "figures": [*_figures(each), numbers.count(found["documents"]) if number == 0 else ""],
            }


def _figures(each: Mapping[str, Any]) -> Iterator[str]:
    yield _figure(each["cost"], 2) + (" °" if each["basis"] == "bytes" else "")
    yield _figure(each["tokens_per_word"], 2)
    yield _figure(each["tokens_per_character"], 3)
    yield _figure(each["tokens_per_byte"], 3)
    yield _share(each["pieces"])
    yield _share(each["unknown"])
    yield numbers.count(each["tokens"])


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else numbers.percent(value)
