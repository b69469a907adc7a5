"""Nothing that stands in a run's files or in a curation's table runs as script: one leaf or key after the other is one."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinisi.report import write_report
from pinisi.report.curation import write_curation_report
from pinisi.report.evaluation import write_evaluation
from pinisi.report.explore import write_explorer
from pinisi.report.fertility import write_fertility
from pinisi.report.picture import draw
from tests.report import test_explore, test_fertility
from tests.report.made_evaluation import made_comparison, made_results
from tests.report.made_run import make_run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def spoiled(value: Any) -> Iterator[Any]:
    """Copies of a tree with EVIL in the place of one leaf, or of one key, each."""

    def places(of: Any, path: tuple = ()) -> Iterator[tuple]:
        if isinstance(of, dict):
            for key in of:
                yield (*path, key), True
                yield from places(of[key], (*path, key))
        elif isinstance(of, list):
            for number in range(min(2, len(of))):
                yield from places(of[number], (*path, number))
        else:
            yield path, False

    for path, is_key in places(value):
        changed = copy.deepcopy(value)
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        if not path:
            yield EVIL
        elif is_key:
            inner[EVIL] = inner.pop(path[-1])
            yield changed
        else:
            inner[path[-1]] = EVIL
            yield changed


def harmless(page: Path) -> bool:
    text = page.read_text("utf-8")
    return "<script>alert" not in text and "<img src=x" not in text


@pytest.mark.parametrize("name", ["timeline.json", "memory.json", "comparison.json"])
def test_no_leaf_of_a_runs_files_is_script(tmp_path, name):
    """A timeline's step was."""
    run = make_run(tmp_path / "run", ranks=2, microbatches=2, steps=3)
    whole, seen = json.loads((run / name).read_text()), 0
    for changed in spoiled(whole):
        (run / name).write_text(json.dumps(changed))
        assert harmless(write_report(run)), changed
        seen += 1
    assert seen > 10


def test_no_leaf_of_the_metrics_is_script(tmp_path):
    run = make_run(tmp_path / "run", ranks=2, microbatches=2, steps=3)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    told = {
        kind: next(line for line in map(json.loads, lines) if kind in line)
        for kind in ("evaluation", "tasks", "loss")
    }
    for kind, key in (("evaluation", "evaluation"), ("tasks", "tasks"), ("loss", "losses")):
        told[kind][key] = dict(list(told[kind][key].items())[:2])  # many of one kind say no more
    for line in told.values():
        for changed in spoiled(line):
            (run / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(changed)]) + "\n")
            assert harmless(write_report(run)), changed


def test_no_part_of_a_curations_table_is_script(tmp_path):
    """A pack's language code was."""
    sample = ["00", "id", "https://example.org", 0.5, "text"]
    language = {
        "documents": 9, "characters": 99, "kept": 5, "kept_characters": 50, "drops": {"read/words": 4},
        "dropped_characters": {"read/words": 40}, "removed": {"frequent lines": 4}, "touched": {"frequent lines": 2},
        "mended": {"space": 3}, "lengths": {"4": 5}, "identified": {"id": 7, "ms": 2}, "graded": {"best by quality": 1},
        "personal": {"email": 2}, "personal_documents": {"email": 1}, "samples": {"read/words": [sample], "kept": [sample]},
    }  # fmt: skip
    table = {"languages": {"id": language}, "errors": {"a.jsonl:1: no text": 2}, "quality": {}}
    for changed in spoiled(table):
        try:
            page = write_curation_report(changed, tmp_path / "report.html", title="t" + EVIL)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # no table that `Counts` could have made
        assert harmless(page), changed


def test_no_leaf_of_a_fertility_is_script(tmp_path):
    table, seen = test_fertility.made(test_fertility.COSTS), 0
    for changed in spoiled(table):
        try:
            page = write_fertility(changed, tmp_path / "fertility.html", title=EVIL)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # no dictionary that `fertility` could have made
        assert harmless(page), changed
        seen += 1
    assert seen > 20


def test_no_leaf_of_an_evaluation_is_script(tmp_path):
    results, seen = made_results(["a", "b"], ["th"]), 0
    for result in results.values():
        result["tasks"] = result["tasks"][:1]
    whole = {
        "results": results,
        "comparison": made_comparison(results),
        "left_out": ["a note"],
        "languages": {"th": "Thai"},
    }
    for changed in spoiled(whole):
        try:
            models = changed.pop("results")
            page = write_evaluation(models, tmp_path / "evaluation.html", title=EVIL, **changed)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # nothing that `evaluate` or `compare` could have made
        assert harmless(page), changed
        seen += 1
    assert seen > 100


def test_no_words_beside_a_timeline_are_script(tmp_path):
    entries = [entry._replace(title=EVIL, rows=[(EVIL, EVIL)]) for entry in test_explore.some()]
    page = write_explorer(tmp_path / "page.html", EVIL, entries, lead=EVIL)
    assert harmless(page) and page.read_text("utf-8").count("alert(1)") > 10
    (tmp_path / "picture.svg").write_text(draw(entries[0].timeline, title=EVIL), "utf-8")
    assert harmless(tmp_path / "picture.svg")
