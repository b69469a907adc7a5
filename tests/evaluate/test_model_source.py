"""A run, its checkpoints and its export are one model, and have one score."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pinisi.cli import main
from pinisi.data import TokenShards, tokenize
from pinisi.evaluate.generation import GenerationSettings, OpenPrompt, TransformersGenerator
from pinisi.evaluate.model_source import open_model
from tests.data.conftest import write_corpus, write_tokenizer
from tests.engine.runs import CONFIG, pinisi


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_corpus(folder / "text")
    write_tokenizer(folder / "tokenizer")
    tokenize(folder / "text", folder / "tokenizer", folder / "shards", report=lambda _: None)
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    exact = ("model.dtype=float32", "evaluation.microbatches=999")
    done = pinisi("train", str(folder / "config.toml"), *exact)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def found(model: Path, folder: Path, *arguments: str) -> dict:
    out = folder / "out.json"
    assert main(["evaluate", str(model), "--dtype", "float32", *arguments, "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_a_run_its_checkpoint_and_its_export_score_alike(run, xcopa, tmp_path) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "exported"), "--dtype", "float32"]) == 0
    of_run, of_checkpoint, of_export, older = (
        found(model, tmp_path, "--task", f"xcopa:th:{xcopa}", *more)
        for model, more in (
            (run, ()),
            (run / "checkpoints" / "step-00000006", ()),
            (tmp_path / "exported", ()),
            (run, ("--step", "2")),
        )
    )
    assert of_run == of_checkpoint and of_run["tasks"] == of_export["tasks"]
    assert of_run["model"]["kind"] == "checkpoint" and of_export["model"]["kind"] == "folder"
    assert len({each["model"]["digest"] for each in (of_run, of_export, older)}) == 3
    prompts = [OpenPrompt("Kapal pinisi"), OpenPrompt("Nasi")]
    first, second = (
        TransformersGenerator(open_model(model, dtype="float32")).generate(prompts, GenerationSettings(6))
        for model in (run, tmp_path / "exported")
    )
    assert first == second


def test_a_loss_is_the_runs_own_evaluation(run, tmp_path) -> None:
    """What the trainer says of its held-out text at the last step, in bits per byte and perplexity."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "evaluation" in line][-1]["evaluation"]
    shards = TokenShards(run.parent / "shards")
    result = found(run, tmp_path, "--text", f"all={run.parent / 'text'}", "--longest", "16")
    for loss in result["losses"]:
        own = last[loss["language"]]
        assert math.log(loss["scores"]["perplexity"]["value"]) == pytest.approx(own["loss"], rel=1e-5)
        bits = own["loss"] * own["tokens"] / math.log(2) / shards.counts(loss["language"])["predicted_bytes"]
        assert loss["scores"]["bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-5)
        assert loss["tokens"] == own["tokens"]


def test_what_is_missing_is_named(run, tmp_path, capsys) -> None:
    for arguments, words in (
        ([str(run), "--step", "5"], "no checkpoint of step 5; there are: "),
        ([str(run), "--tokenizer", str(tmp_path)], f"{tmp_path} holds no tokenizer"),
    ):
        assert main(["evaluate", *arguments, "--text", str(tmp_path)]) == 2
        assert words in capsys.readouterr().err
