"""The page made from a made-up run: well-formed, self-contained, and with the numbers of the files."""

import errno
import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.report import numbers, read_run, write_report
from pinisi.report.charts import thin
from pinisi.schedule import Timeline

from .made_run import LANGUAGES, make_run

SIZES = [(2, 7, 1), (3, 2, 2), (8, 11, 1), (1, 3, 0)]  # ranks, microbatches, barriers


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: "-".join(map(str, size)))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ranks, microbatches, barriers = request.param
    run = make_run(
        tmp_path_factory.mktemp("runs") / "demo", ranks=ranks, microbatches=microbatches, barriers=barriers
    )
    write_report(run)
    return run


def parsed(path: Path) -> ElementTree.Element:
    """The page as XML: a tag left open or an ampersand left bare raises."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def words(element: ElementTree.Element | None) -> str:
    assert element is not None
    return " ".join(" ".join(element.itertext()).split())


def part(page: ElementTree.Element, name: str) -> ElementTree.Element:
    found = page.find(f".//section[@id='{name}']")
    assert found is not None
    return found


def table_rows(element: ElementTree.Element) -> list[list[str]]:
    return [[words(cell) for cell in row.findall("td")] for row in element.findall(".//tbody/tr")]


def test_page_is_whole_and_loads_nothing(folder: Path) -> None:
    page = parsed(folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<link|<img|<iframe|fetch\(|import\(", text)
    assert not [node for node in page.iter() if node.get("src") or node.get("href")]
    assert words(page.find(".//h1")) == "Demo <fifteen> & more"
    assert not page.findall(".//p[@class='missing']") and not page.findall(".//p[@class='warning']")


def test_headline_numbers_are_those_of_the_files(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if "loss" in line]
    cards = {
        words(card.find("span")): card
        for card in part(parsed(folder / "report.html"), "headline").iter("div")
        if card.get("class") == "card"
    }
    assert words(cards["training loss"].find("b")) == f"{training[-1]['loss']:.3f}"
    rates = [line["tokens_per_second"] for line in training]
    assert words(cards["throughput"].find("b")) == f"{median(rates):,.0f}"
    last = [line["evaluation"] for line in lines if "evaluation" in line][-1]
    each = [entry["loss"] * entry["tokens"] / entry["bytes"] / math.log(2) for entry in last.values()]
    assert words(cards["held-out text"].find("b")) == f"{sum(each) / len(each):.3f}"
    peaks = [rank["peak"] for rank in json.loads((folder / "memory.json").read_text())["ranks"]]
    assert words(cards["peak memory"].find("b")) == f"{max(peaks) / 2**20:.2f} MiB"


def test_every_language_has_its_panel_and_row(folder: Path) -> None:
    page = parsed(folder / "report.html")
    panels = {figure.get("data-language"): figure for figure in part(page, "languages").iter("figure")}
    assert sorted(panels) == LANGUAGES
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    first, *_, last = [line["evaluation"] for line in lines if "evaluation" in line]
    rows = {row[0]: row[1:] for row in table_rows(part(page, "held-out"))}
    assert sorted(rows) == LANGUAGES
    for name in LANGUAGES:
        before, after = first[name], last[name]
        ratio = after["tokens"] / after["bytes"] / math.log(2)
        wanted = [f"{after['tokens']:,}", *(f"{x:.3f}" for x in (before["loss"], after["loss"]))]
        wanted += [f"{x['loss'] * ratio:.3f}" for x in (before, after)]
        assert rows[name] == wanted
        assert words(panels[name].find("figcaption/span")) == f"{after['loss']:.3f}"


def test_panels_draw_each_language_its_own_losses(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    page = parsed(folder / "report.html")
    for figure in part(page, "languages").iter("figure"):
        chart = next(node for node in figure.iter() if node.get("data-chart"))
        series = {line["name"]: line["points"] for line in json.loads(chart.get("data-chart", ""))["series"]}
        name = figure.get("data-language")
        held_out = [
            [line["step"], line["evaluation"][name]["loss"]] for line in lines if "evaluation" in line
        ]
        assert [point[:2] for point in series["held out"]] == [[x, float(f"{y:.6g}")] for x, y in held_out]
        drawn = [point[1] for point in series["training"]]
        losses = [line["losses"][name] for line in lines if "losses" in line]
        assert sum(drawn) / len(drawn) == pytest.approx(sum(losses) / len(losses), rel=0.02)
        heights = [point[3] for point in series["held out"]]
        assert heights == sorted(heights)  # the loss falls, and SVG counts downwards


def test_timelines_have_every_rank_and_pass_on_one_scale(folder: Path) -> None:
    data = json.loads((folder / "timeline.json").read_text())
    both = {name: Timeline.from_dict(data[name]) for name in ("predicted", "measured")}
    longest = max(timeline.makespan for timeline in both.values())
    section = part(parsed(folder / "report.html"), "timelines")
    for name, timeline in both.items():
        figure = section.find(f".//div[@data-timeline='{name}']")
        assert figure is not None
        assert numbers.duration(timeline.makespan) in words(figure.find("h3"))
        assert len(figure.findall(".//li")) == len(timeline.spans)
        origin = min(spans[0].start for spans in timeline.spans)
        for rank, spans in enumerate(timeline.spans):
            boxes = figure.findall(f".//g[@data-rank='{rank}']/svg")
            assert [words(box.find("title")).split(",")[0] for box in boxes] == [str(s.pass_) for s in spans]
            for box, span in zip(boxes, spans, strict=True):
                x, width = (float((box.get(key) or "").rstrip("%")) / 100 * longest for key in ("x", "width"))
                assert x == pytest.approx(span.start - origin, abs=2e-5 * longest)
                assert width == pytest.approx(span.end - span.start, abs=2e-5 * longest)


def test_memory_has_every_rank_and_part(folder: Path) -> None:
    ranks = json.loads((folder / "memory.json").read_text())["ranks"]
    section = part(parsed(folder / "report.html"), "memory")
    wanted = [
        [
            f"rank {item['rank']}",
            *(numbers.memory(size) for size in item["parts"].values()),
            numbers.memory(item["peak"]),
        ]
        for item in ranks
    ]
    assert table_rows(section) == wanted
    bars = [node for node in section.iter("rect") if node.find("title") is not None]
    sizes = [size for item in ranks for size in item["parts"].values()]
    scales = [(float(bar.get("width", "")) + 1.5) / size for bar, size in zip(bars, sizes, strict=True)]
    assert max(scales) / min(scales) < 1.02  # every bar on one scale
    for bar, after in pairwise(bars):  # a rank's parts stand end to end, without the gap between two colours
        if bar.get("y") == after.get("y"):
            end = float(bar.get("x", "")) + float(bar.get("width", "")) + 1.5
            assert float(after.get("x", "")) == pytest.approx(end, abs=0.11)


def test_comparison_and_configuration(folder: Path) -> None:
    page = parsed(folder / "report.html")
    rows = table_rows(part(page, "comparison"))
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("torch 1F1B", "1,570", "1.000"),
        ("0 barriers", "1,581", "1.007"),
        ("1 barrier", "2,302", "1.466"),
    ]
    said = words(part(page, "configuration"))
    assert "config.vocab_size 151936" in said and "mixture.vi 0.5" in said and "betas 0.9, 0.95" in said


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", steps=20)


def test_a_torn_line_is_left_out_and_named(run: Path) -> None:
    path = run / "metrics.jsonl"
    text = path.read_text()
    count = len(text.splitlines())
    path.write_text(text[:-40])  # as a kill in the middle of a write leaves it
    page = parsed(write_report(run))
    assert f"metrics.jsonl: line {count} is torn" in words(page.find(".//p[@class='warning']"))
    assert read_run(run).training[-1]["step"] == 19


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "[]",
        '{"step": 5}',
        '{"loss": 1}',
        '{"step": 5, "evaluation": {"id": 3}}',
        '{"step": 5, "evaluation": 1}',
        '{"step": 5, "loss": NaN, "tokens": 1, "seconds": 1, "tokens_per_second": 1}',
    ],
)
def test_a_line_that_is_no_metric_is_named(run: Path, line: str) -> None:
    path = run / "metrics.jsonl"
    path.write_text(line + "\n" + path.read_text())
    assert "line 1 is torn or not a metric" in read_run(run).notes["metrics.jsonl"]
    parsed(write_report(run))


def test_of_a_step_written_twice_the_later_counts(run: Path) -> None:
    again = {"step": 3, "loss": 1.25, "tokens": 1, "seconds": 1.0, "tokens_per_second": 1.0}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(again) + "\n")
    training = read_run(run).training
    assert [line["step"] for line in training] == list(range(1, 21))
    assert training[2] == again


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("metrics.jsonl", {"loss": "Loss", "languages": "Loss by language", "throughput": "Throughput"}),
        ("metrics.jsonl", {"held-out": "Held-out text, before and after"}),
        ("timeline.json", {"timelines": "One step on every rank"}),
        ("memory.json", {"memory": "Memory"}),
        ("comparison.json", {"comparison": ""}),
        ("config.toml", {"configuration": "Configuration"}),
    ],
)
def test_a_section_without_its_file_is_not_shown_but_named(
    run: Path, name: str, places: dict[str, str]
) -> None:
    """comparison.json is not even named: most runs have none."""
    assert all(part(parsed(write_report(run)), place) is not None for place in places)
    (run / name).unlink()
    page = parsed(write_report(run))
    lacking = page.findall(".//section[@id='lacking']/p[@class='missing']")
    said = [words(line) for line in lacking]
    for place, title in places.items():
        assert page.find(f".//section[@id='{place}']") is None
        named = [line for line in said if line.endswith(f"{name} is missing from the run's folder.")]
        assert (title and title in named[0].split(":")[0]) or not said
    assert len(lacking) == (name != "comparison.json")
    (run / name).write_text('{"torn": [1, 2')
    page = parsed(write_report(run))
    assert name in words(page.find(".//p[@class='warning']"))


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    page = parsed(write_report(tmp_path, tmp_path / "deep" / "page.html"))
    assert [section.get("id") for section in page.iter("section")] == ["lacking"]
    lines = [words(line) for line in page.findall(".//p[@class='missing']")]
    assert len(lines) == 5 and lines[0] == "In short: No step of this run has been recorded yet."
    assert lines[1].startswith("Loss, Loss by language, Held-out text, before and after, Throughput: metrics")
    with pytest.raises(DataError, match="no such folder"):
        write_report(tmp_path / "gone")


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(run)
    old, files = path.read_bytes(), set(run.iterdir())

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # what was written before it is there
    with pytest.raises(OSError, match="No space"):
        write_report(run)
    assert path.read_bytes() == old and set(run.iterdir()) == files


@pytest.mark.parametrize("length", [0, 1, 399, 400, 401, 1237, 50_003])
def test_thin_keeps_the_mean_of_every_group(length: int) -> None:
    points = [(float(at), math.sin(at)) for at in range(length)]
    kept, size = thin(points)
    assert len(kept) == -(-length // size) if length else kept == []
    assert len(kept) <= 400
    for index, (x, y) in enumerate(kept):
        group = points[index * size : (index + 1) * size]
        assert x == group[-1][0] and y == pytest.approx(sum(v for _, v in group) / len(group))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3.17, 11.9), (-2, 5), (0, 123457), (0.0011, 0.0019)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = numbers.ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    steps = {f"{b - a:.6g}" for a, b in pairwise(found)}
    assert len(steps) == 1 and steps.pop().strip("0.").rstrip("0")[0] in "125"


def test_numbers() -> None:
    assert numbers.memory(1536) == "1.50 KiB" and numbers.memory(3 * 2**40) == "3.00 TiB"
    assert numbers.duration(0.0123) == "12.3 ms" and numbers.duration(61) == "1:01 min"
    assert numbers.duration(0.9997) == "1 s" and numbers.duration(0.9994) == "999 ms"
    assert numbers.duration(3661) == "1:01:01"
    assert numbers.bits_per_byte({"loss": math.log(2), "tokens": 10, "bytes": 40}) == pytest.approx(0.25)
    assert numbers.bits_per_byte({"loss": 1.0}) is None


def test_a_language_seen_once_is_drawn_as_a_dot(run: Path) -> None:
    losses = {"id": 4.5}
    line = {"step": 1, "loss": 4.5, "tokens": 9, "seconds": 0.5, "tokens_per_second": 18.0, "losses": losses}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    section = part(parsed(write_report(run)), "languages")
    assert "last training loss" in words(section.find("p")) and "held out" not in words(section.find("ul"))
    assert [circle.get("fill") for circle in section.iter("circle")] == ["var(--soft)", "var(--c1)"]


def test_tasks_asked_in_a_run_are_lines_and_a_table(tmp_path: Path) -> None:
    """Of a line that isn't of the form the rest stands; a run without any has no such section."""
    run = make_run(tmp_path / "demo", ranks=2, microbatches=3, barriers=1)
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    torn = {"step": 149, "tasks": {"a": {"scores": {"accuracy": [0.5, 0.4]}, "items": 3, "chance": 0.5}}}
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, torn]))
    section = part(parsed(write_report(run)), "tasks")
    asked = [line for line in lines if "tasks" in line]
    charts = [json.loads(node.get("data-chart", "")) for node in section.iter() if node.get("data-chart")]
    assert len(charts) == len(asked[-1]["tasks"]) == len(list(section.iter("figure")))
    for chart, name in zip(charts, asked[-1]["tasks"], strict=True):
        series = {line["name"]: [point[:2] for point in line["points"]] for line in chart["series"]}
        for at, which in enumerate(("accuracy", "lowest", "highest")):
            wanted = [[line["step"], 100 * line["tasks"][name]["scores"]["accuracy"][at]] for line in asked]
            assert np.allclose(series[which], wanted, rtol=1e-5)
    rows = [[words(cell) for cell in row] for row in section.iter("tr")]
    assert rows[1][:7] == ["xcopa-ban", "accuracy", "100", "50.0 %", "50.0 %", "70.0 %", "60.0 to 80.0 %"]
    assert "torn or not a metric" in words(parsed(run / "report.html"))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines if "tasks" not in line))
    assert "tasks" not in {node.get("id") for node in parsed(write_report(run)).iter("section")}


def test_extra_heads_have_lines_of_their_own(tmp_path: Path) -> None:
    """From the step on at which there are any; a line with a torn value is left out."""
    run = make_run(tmp_path / "demo", ranks=2, microbatches=3, barriers=1)
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "losses" in line and line["step"] > 1:
            line["extra_head_losses"] = [line["loss"] + 1.0, line["loss"] + 2.0]
    next(line for line in reversed(lines) if "losses" in line)["extra_head_losses"] = [None, 2.0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report(run)
    section = part(parsed(run / "report.html"), "loss")
    chart = next(node for node in section.iter() if node.get("data-chart"))
    series = {line["name"]: line["points"] for line in json.loads(chart.get("data-chart", ""))["series"]}
    own = dict(point[:2] for point in series["training"])
    for k in (1, 2):
        points = series[f"extra head {k}"]
        assert points[0][0] > 1 and len(points) >= len(own) - 2
        shared = [(y, own[x]) for x, y, *_ in points if x in own]
        assert shared and all(y == pytest.approx(loss + k, abs=1e-4) for y, loss in shared)
    assert "extra head 2" in words(section)
    assert "torn or not a metric" in words(parsed(run / "report.html"))
