"""Pairs of answers on a run's page: a panel for each measure, held-out pairs as dots, nothing where nothing was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinisi.report import read_run, write_report
from pinisi.report.preference import PANELS, preference

from .made_run import make_run, measures
from .test_report import parsed, part, words


@pytest.fixture
def folder(tmp_path) -> Path:
    run = make_run(tmp_path / "run", ranks=1, microbatches=2, barriers=0, steps=60)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for number, entry in enumerate(line.get("evaluation", {}).values()):
            entry |= {"tokens": 10 + number, "margin": float(number)}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_each_measure_has_a_panel_with_its_last_value(folder) -> None:
    page = parsed(write_report(folder))
    figures = part(page, "preference").findall(".//figure")
    assert [figure.get("data-measure") for figure in figures] == [name for name, *_ in PANELS]
    last = measures(60)
    said = [words(figure.find("figcaption")) for figure in figures]
    assert said[0] == f"margin {last['margin']:.3g} nats"
    assert said[2] == "length 120 tokens" and "share of pairs" in said[1]


def test_held_out_pairs_are_means_over_languages(folder) -> None:
    panel = next(each for each in preference(read_run(folder))["panels"] if each["name"] == "margin")
    series = {each["name"]: each for each in json.loads(_data(panel["chart"]))["series"]}
    count = 15
    wanted = sum(n * (10 + n) for n in range(count)) / sum(10 + n for n in range(count))
    points = series["chosen above rejected, held out"]["points"]
    assert [point[0] for point in points] == [0, 50] and points[0][1] == pytest.approx(wanted, rel=1e-5)


def _data(chart: str) -> str:
    import html

    return html.unescape(str(chart).split('data-chart="')[1].split('"')[0])


def test_a_run_without_pairs_has_no_such_section(folder) -> None:
    text = (folder / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    strange = [None, 3, {"margin": "x"}, {}]
    for number, line in enumerate(lines):
        if "measures" in line:
            line["measures"] = strange[number % 4]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = parsed(write_report(folder))
    assert page.find(".//section[@id='preference']") is None
    assert "Pairs of answers" not in words(page)


def test_without_a_reference_there_is_no_divergence(folder) -> None:
    text = (folder / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line.get("measures", {}).pop("kl", None)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [each["name"] for each in preference(read_run(folder))["panels"]] == [n for n, *_ in PANELS[:-1]]
