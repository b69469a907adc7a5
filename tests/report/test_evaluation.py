"""The page of evaluations: what stands where, of results as `pinisi evaluate` writes them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from pinisi.report.evaluation import evaluation_page, score_groups, unit_of, write_evaluation

from .made_evaluation import LANGUAGES, NAMES, made_comparison, made_results


def made_page(**more) -> str:
    given = {"comparison": None, "left_out": [], "languages": {"th": "Thai"}, "title": "Evaluation"}
    return evaluation_page(made_results(), **given | more)


def rows_of(page: str, section: str) -> list[list[str]]:
    """The first table of a section, as text."""
    found = next(
        e for e in ElementTree.fromstring(page.split("\n", 1)[1]).iter("section") if e.get("id") == section
    )
    return [["".join(cell.itertext()) for cell in row] for row in next(found.iter("table")).iter("tr")]


def test_every_model_language_and_task_has_its_score_and_interval() -> None:
    results, page = made_results(), made_page()
    groups = list(score_groups(results))
    assert [group.title for group in groups] == [
        *("belebele, letters", "xquad, 3 examples, as a chat", "flores, from en", "Text: web"),
    ]
    for number, group in enumerate(groups, 1):
        head, *rows = rows_of(page, f"scores-{number}")
        assert head[-3:] == NAMES and ("chance" in head) == (group.kind == "choice")
        assert len(rows) == len(LANGUAGES)
        for row, language in zip(rows, LANGUAGES, strict=True):
            assert row[0] == ("Thai" if language == "th" else language)
    measure, number = "chrf++", 3
    for row, language in zip(rows_of(page, f"scores-{number}")[1:], LANGUAGES, strict=True):
        for cell, result in zip(row[-3:], results.values(), strict=True):
            score = next(t for t in result["tasks"] if t["name"] == f"flores-{language}")["scores"][measure]
            assert cell == f"{score['value']:.1f} ({score['low']:.1f} to {score['high']:.1f})"
    assert rows_of(page, "scores-1")[1][-1] == "– (– to –)"  # of no items


def test_what_one_model_lacks_is_left_empty_and_twice_asked_languages_keep_apart() -> None:
    results = made_results(["a", "b"], ["id", "th"])
    results["b"]["tasks"] = [task for task in results["b"]["tasks"] if task["name"] != "belebele-id"]
    again = {**results["a"]["tasks"][0], "name": "mine"}
    results["a"]["tasks"].append(again)
    page = evaluation_page(results, comparison=None, left_out=[], languages={}, title="t")
    rows = rows_of(page, "scores-1")[1:]
    assert [row[0] for row in rows] == ["id", "th", "mine"]
    assert rows[0][-1] == "" and rows[1][-1] != "" and rows[2][-2:] == [rows[0][-2], ""]


def test_a_change_stands_with_its_verdict_interval_and_settings() -> None:
    results = made_results()
    page = made_page(comparison=made_comparison(results), left_out=["xcopa-th isn't compared: other files."])
    head, *rows = rows_of(page, "change-1")
    assert head[:3] == ["task or text", "measure", "verdict"] and len(rows) == 4 * len(LANGUAGES)
    first = made_comparison(results)["comparisons"][0]["scores"][0]["difference"]
    interval = f"{100 * first['low']:+.1f} % to {100 * first['high']:+.1f} %"
    assert rows[0][2:8] == [
        "not told apart",
        "50.0 %",
        "60.0 %",
        f"{100 * first['difference']:+.1f} %",
        interval,
        "12 of 40",
    ]
    assert "xcopa-th isn&#39;t compared" in page and "belebele.style" in page and 'id="change-2"' in page
    assert 'id="change-1"' not in made_page()


def test_examples_on_which_models_differ_come_first() -> None:
    results = made_results(["a", "b"], ["th"])
    for result, answers in zip(results.values(), ("xxy", "xyy"), strict=True):
        (example,) = result["tasks"][0]["examples"]
        result["tasks"][0]["examples"] = [
            {**example, "id": f"item-{n}", "answer": answer, "score": float(answer == "x")}
            for n, answer in enumerate(answers)
        ]
    page = evaluation_page(results, comparison=None, left_out=[], languages={}, title="t")
    assert page.index("item-1") < page.index("item-2") < page.index("item-0")  # differ, wrong, right


def test_numbers_are_written_as_their_measure_wants() -> None:
    assert (
        unit_of("accuracy_per_byte").text(0.5) == "50.0 %"
        and unit_of("bits_per_byte").text(1.23456) == "1.235"
    )
    assert (
        unit_of("bleu_char").text(31.25, signed=True) == "+31.2"
        and unit_of("perplexity").text(12345.6) == "12,346"
    )


def test_the_page_is_one_file(tmp_path: Path) -> None:
    path = write_evaluation(made_results(), tmp_path / "page.html")
    text = path.read_text("utf-8")
    assert "http" not in text.replace("http://www.w3.org", "") and "src=" not in text
