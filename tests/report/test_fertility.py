"""The page of tokens by language: well-formed, self-contained, with the figures given, and seen in a browser."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pinisi.report.fertility import by_cost, write_fertility, write_fertility_json

from . import browser

NAMES = ["Qwen <3> & more", "second"]


def figures(cost: float | None, basis: str | None, words: bool = True) -> dict:
    return {
        "tokens": 1234567,
        "tokens_per_word": 1.234 if words else None,
        "tokens_per_character": 0.4567,
        "tokens_per_byte": 0.1524,
        "unknown": 0.0,
        "pieces": 0.125,
        "cost": cost,
        "basis": basis,
    }


def made(costs: dict[str, tuple]) -> dict:
    """costs: of each language, a (cost, basis) per tokenizer."""
    return {
        "format": 1,
        "reference": "en",
        "parallel_documents": 12,
        "tokenizers": {name: {"vocabulary": 151669} for name in NAMES},
        "languages": {
            code: {
                "name": {"en": "English", "my": "Burmese", "zh": "Chinese (simplified)"}.get(code, code),
                "documents": 7,
                "characters": 9,
                "bytes": 20,
                "words": 5,
                "tokenizers": {
                    name: figures(*each, words=code != "my") for name, each in zip(NAMES, of, strict=True)
                },
            }
            for code, of in costs.items()
        },
    }


COSTS = {
    "en": ((1.0, "parallel"), (1.0, "parallel")),
    "my": ((11.78, "parallel"), (3.16, "parallel")),
    "zh": ((0.87, "parallel"), (0.93, "bytes")),
    "xx": ((None, None), (None, None)),
}


def parsed(path: Path) -> ElementTree.Element:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"https?:|url\(|@import|<link|<img|<script|fetch\(", text)
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def words(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_figures_of_the_table_and_the_order(tmp_path):
    result = made(COSTS)
    page = parsed(write_fertility(result, tmp_path / "a" / "f.html", title="A & B"))
    assert words(page.find(".//h1")) == "A & B"
    assert by_cost(result["languages"], NAMES) == ["my", "en", "zh", "xx"]
    rows = [[words(cell) for cell in row.findall("td")] for row in page.findall(".//tbody/tr")]
    assert len(rows) == 8
    assert rows[0] == [
        "Burmese my",
        NAMES[0],
        "11.78",
        "–",
        "0.457",
        "0.152",
        "12.5 %",
        "0.0 %",
        "1,234,567",
        "7",
    ]
    assert rows[1][:4] == ["", NAMES[1], "3.16", "–"]
    assert rows[2][3] == "1.23" and rows[5][2] == "0.93 °" and rows[6][2] == "–"
    assert json.loads(write_fertility_json(result, tmp_path / "b" / "f.json").read_text()) == result


@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_dots_stand_where_the_scale_says(tmp_path, kind):
    page = parsed(write_fertility(made(COSTS), tmp_path / "f.html"))
    chart = page.find(f".//div[@class='{kind}']//svg")
    ticks = {words(tick): float(tick.get("x")) for tick in chart.findall("text[@class='tick']")}
    (zero, two) = (ticks["0 ×"], ticks["10 ×"])
    groups = chart.findall("g")
    assert [words(group.find("title")).split(":")[0] for group in groups] == [
        "Burmese",
        "English",
        "Chinese (simplified)",
    ]
    for group, code in zip(groups, ["my", "en", "zh"], strict=True):
        dots = group.findall("circle")
        assert len(dots) == 2
        for dot, (cost, basis) in zip(dots, COSTS[code], strict=True):
            assert (float(dot.get("cx")) - zero) / (two - zero) * 10 == pytest.approx(cost, abs=0.02)
            assert ("stroke" in (dot.get("style") or "")) == (basis == "bytes")
        assert dots[0].get("cy") != dots[1].get("cy")


def test_without_the_reference_the_page_says_so(tmp_path):
    page = parsed(write_fertility(made({"xx": COSTS["xx"]}), tmp_path / "f.html"))
    assert "There is no text in en" in words(page.find(".//p[@class='missing']"))
    assert len(page.findall(".//tbody/tr")) == 2


@pytest.mark.parametrize(("width", "shown"), [(1300, "wide"), (500, "narrow")])
def test_in_a_browser(tmp_path, width, shown):
    """One drawing is seen, letters can be read, nothing stands out of the page or on other letters."""
    if browser.find() is None:
        return  # read as XML above
    page = write_fertility(made(COSTS), tmp_path / "f.html")
    found = browser.run(
        page,
        """
        const charts = Array.from(document.querySelectorAll('.wide, .narrow'))
            .filter(each => getComputedStyle(each).display !== 'none');
        const texts = Array.from(charts[0].querySelectorAll('text'));
        const boxes = texts.map(each => each.getBoundingClientRect());
        const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
        let overlaps = 0;
        boxes.forEach((a, i) => boxes.forEach((b, j) => { if (i > j && meet(a, b)) overlaps += 1; }));
        answer({
            kinds: charts.map(each => each.className), overlaps,
            least: Math.min(...boxes.map(each => each.height)),
            left: Math.min(...boxes.map(each => each.left)), right: Math.max(...boxes.map(each => each.right)),
            page: document.documentElement.scrollWidth, window: document.documentElement.clientWidth,
        });
        """,
        size=(width, 900),
    )
    assert found["kinds"] == [shown] and found["overlaps"] == 0
    assert found["least"] >= 11 and found["left"] >= 0 and found["right"] <= found["window"]
    assert found["page"] <= found["window"]
