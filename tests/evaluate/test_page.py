"""`pinisi report` of results: read from their files, compared where they were asked the same, and said where they weren't."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pinisi.cli import main
from pinisi.evaluate.comparison import compare, read_result
from tests.data.conftest import write_corpus
from tests.evaluate.conftest import XCOPA, write_lines, write_model


@pytest.fixture(scope="module")
def results(model, xcopa, tmp_path_factory) -> list[Path]:
    """Of two models, on the same task and text."""
    folder = tmp_path_factory.mktemp("results")
    text = write_corpus(folder / "text", {"th": ["แม่น้ำเจ้าพระยา", "มนุษย์ทั้งหลาย"]})
    other = write_model(folder / "other", seed=1)
    found = []
    for name, path in (("a", model), ("b", other)):
        found.append(folder / f"{name}.json")
        asked = ["--task", f"xcopa:th:{xcopa}", "--text", f"prose={text}"]
        assert main(["evaluate", str(path), *asked, "--out", str(found[-1])]) == 0
    return found


def page_of(path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(path.read_text("utf-8").removeprefix("<!DOCTYPE html>\n"))


def table(page: ElementTree.Element, section: str) -> list[list[str]]:
    found = next(e for e in page.iter("section") if e.get("id") == section)
    return [["".join(cell.itertext()) for cell in row] for row in next(found.iter("table")).iter("tr")]


def test_the_page_says_what_the_results_and_their_comparison_say(results, tmp_path, capsys) -> None:
    out = tmp_path / "page.html"
    assert main(["report", f"first={results[0]}", str(results[1]), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    read, page = {"first": read_result(results[0]), "b": read_result(results[1])}, page_of(out)
    head, row = table(page, "scores-1")
    assert head == ["language", "items", "chance", "first", "b"] and row[:3] == ["Thai", "5", "50.0 %"]
    for cell, result in zip(row[3:], read.values(), strict=True):
        value = result["tasks"][0]["scores"]["accuracy"]["value"]
        right = sum(
            values == [1] for values in result["tasks"][0]["samples"]["measures"]["accuracy"]["values"]
        )
        assert cell.startswith(f"{100 * value:.1f} %") and value == right / len(XCOPA)
    scores = compare(read)["comparisons"][0]["scores"]
    main_ones = [s for s in scores if s["measure"] in ("accuracy", "bits_per_byte")]
    rows = table(page, "change-1")[1:]
    assert [(row[0], row[2]) for row in rows] == [(s["name"], s["verdict"]) for s in main_ones]
    assert f"{main_ones[1]['difference']['difference']:+.3f}" == rows[1][5]
    # every example's question, right answer and the models' own
    shown = out.read_text("utf-8")
    for example in read["first"]["tasks"][0]["examples"]:
        assert example["question"] in shown and example["right"] in shown and example["answer"] in shown
    rights = {n: (c1, c2)[label] for n, (_, c1, c2, _, label) in enumerate(XCOPA)}
    for example in read["first"]["tasks"][0]["examples"]:
        assert example["right"] == rights[int(example["id"])]
        assert example["score"] == (example["answer"] == example["right"])


def test_what_was_asked_otherwise_is_left_out_and_said(results, xcopa, model, tmp_path) -> None:
    fewer = write_lines(tmp_path / "x.jsonl", [json.loads(l) for l in xcopa.read_text().splitlines()[:3]])
    third = tmp_path / "third.json"
    assert main(["evaluate", str(model), "--task", f"xcopa:th:{fewer}", "--out", str(third)]) == 0
    assert main(["report", str(results[0]), str(third), "--out", str(tmp_path / "none.html")]) == 0
    shown = (tmp_path / "none.html").read_text()
    assert (
        "xcopa-th isn&#39;t compared" in shown and "can be compared" in shown and 'id="change-1"' not in shown
    )
    assert main(["report", *map(str, results), str(third), "--out", str(tmp_path / "some.html")]) == 0
    assert (
        "can be compared" in (tmp_path / "some.html").read_text()
    )  # the third shares nothing with the first
    assert main(["report", str(results[1])]) == 0  # one alone, beside it
    assert (results[1].parent / "evaluation.html").is_file()


def test_what_is_no_result_is_named(results, tmp_path, capsys) -> None:
    broken = json.loads(results[0].read_text())
    del broken["tasks"][0]["scores"]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    (tmp_path / "none.json").write_text("[1]")
    for given, words in (
        ([tmp_path / "broken.json"], "isn't of the form"),
        ([tmp_path / "none.json"], "no result of pinisi evaluate"),
        ([tmp_path / "gone.json"], "no such file"),
        ([results[0], tmp_path], "no such file"),
        ([results[0], results[0]], "two results are called a"),
    ):
        assert main(["report", *map(str, given)]) == 2
        assert words in capsys.readouterr().err
