"""The page that aligns a model, typed from its first command to its last on a small model."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, fences
from tests.effort import only_full
from tests.train.test_sft import made_model

PAGE = ROOT / "docs" / "align.md"


def typed() -> list[str]:
    """The lines of the page's blocks without a language, in order."""
    return [line for fence in fences(PAGE) if not fence.language for line in fence.text.splitlines()]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a model, the page's template in it, and the chats and pairs that the page's script makes."""
    pytest.importorskip("babel")
    monkeypatch.chdir(tmp_path)
    (script,) = [fence.text for fence in fences(PAGE) if fence.language == "python"]
    (template,) = [fence.text for fence in fences(PAGE) if fence.language == "jinja"]
    made_model(tmp_path / "made", "qwen3").rename(tmp_path / "my-model")
    Path("my-model/chat_template.jinja").write_text(template)
    Path("make_chats.py").write_text(script)
    return tmp_path


def test_its_script_makes_chats_and_pairs(place) -> None:
    runpy.run_path("make_chats.py")
    rows = {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in place.glob("*.jsonl")
    }
    assert len(rows["chats.jsonl"]) > 400 and len(rows["other-pairs.jsonl"]) > 20
    assert {row["language"] for row in rows["pairs.jsonl"]} == {"id", "jv"}
    assert all(row["chosen"] != row["rejected"] for row in rows["pairs.jsonl"])
    asked = {row["messages"][0]["content"] for row in rows["chats.jsonl"]}
    assert not asked & {row["messages"][0]["content"] for row in rows["other-chats.jsonl"]}


@only_full
def test_the_page_runs_from_its_first_command_to_its_last(place) -> None:
    """Some five minutes on one core; the fine-tuned model's loss on held-out pairs falls."""
    paths = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    for line in typed():
        done = subprocess.run(
            line, shell=True, cwd=place, env=os.environ | paths, capture_output=True, text=True
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    lines = (place / "runs/preferred/metrics.jsonl").read_text().splitlines()
    held_out = [each["evaluation"] for each in map(json.loads, lines) if "evaluation" in each]
    assert all(held_out[-1][name]["loss"] < held_out[0][name]["loss"] for name in ("id", "jv"))
