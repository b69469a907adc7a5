"""The page on preferences: its pairs and its first command, run as they stand on a small model."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import AutoModelForCausalLM

from pinisi.cli import main
from tests.docs.pages import ROOT, commands, fences
from tests.train.test_sft import made_model

PAGE = ROOT / "docs" / "prefer.md"


def test_the_first_command_of_the_page_runs_on_its_pairs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_model(tmp_path / "made", "qwen3"), "my-model")
    (pairs,) = [fence.text for fence in fences(PAGE) if fence.language == "json"]
    Path("pairs.jsonl").write_text(pairs)
    command = next(each for each in commands(PAGE) if each.whole and each.words[:2] == ("pinisi", "prefer"))
    small = ("--set", "pipeline.microbatches=2", "data.microbatch_size=1")
    assert main([*command.words[1:], *small]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 pairs" in said and "runs/preferred/model" in said
    assert {path.name for path in Path("runs/preferred").iterdir()} >= {"prefer.toml", "report.html", "model"}
    assert AutoModelForCausalLM.from_pretrained("runs/preferred/model").config.vocab_size == 700
