"""The Python examples, run as their users would, on two ranks."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.effort import only_full
from tests.engine.runs import pinisi

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def program(*command: object) -> str:
    """Runs a program as a user does; returns what it printed."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(name: str, *arguments: object) -> str:
    """Calls an example's main here, which spares an import; its ranks are processes of their own. Returns what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(str(EXAMPLES / name))["main"](*map(str, arguments))
    return said.getvalue()


@pytest.fixture(scope="module")
def model(whole, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    assert pinisi("export", str(whole), "--out", str(out)).returncode == 0
    return out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40, path


def test_training_from_python_writes_a_model(project, tmp_path) -> None:
    said = example("train.py", project / "shards", project / "tokenizer", tmp_path)
    assert said.splitlines()[-1] == f"{tmp_path}/model"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.num_hidden_layers == 4


def test_preferences_are_learned_saved_and_exported(model, tmp_path) -> None:
    pairs = [
        {"prompt": f"say {n}: ", "chosen": "yes yes", "rejected": "no no no", "language": "en"}
        for n in range(12)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    said = example("dpo.py", model, file, tmp_path)
    assert "en: 100% of 12 pairs prefer the chosen answer" in said
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000010",
        "step-00000020",
    ]
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "model"))
    assert before.keys() == after.keys() and any(
        not torch.equal(before[name], after[name]) for name in before
    )


@only_full
def test_a_preference_loss_of_ones_own(model, tmp_path) -> None:
    """The model of this folder has no chat template: one of a line stands beside it."""
    chatting = tmp_path / "chatting"
    shutil.copytree(model, chatting)
    turns = "{% for m in messages %}{{ '### ' + m.role + '\n' + m.content + '\n' }}{% endfor %}"
    (chatting / "chat_template.jinja").write_text(turns)
    pairs = [{"prompt": f"say {n}", "chosen": "yes yes", "rejected": "no no no"} for n in range(12)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    said = program(EXAMPLES / "ipo.py", chatting, file, tmp_path)
    assert "all: 100% of 12 pairs prefer the chosen answer" in said
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert (
        losses[0] == pytest.approx(100.0, rel=1e-4) and losses[-1] < 50
    )  # (1 / 2β)² where nothing is learned yet


def test_a_student_comes_nearer_to_its_teacher(model, project, tmp_path) -> None:
    example("distill.py", model, project / "shards", tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.num_hidden_layers == 2


def test_a_loss_of_ones_own(project, tmp_path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        (project / "config.toml").read_text().replace(str(project / "run"), str(tmp_path / "run"))
    )
    said = program(EXAMPLES / "own_loss.py", config)
    assert "'evaluation'" in said
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[1])
    assert first["total_loss"] < first["loss"]  # the focal loss is below cross-entropy


def test_the_head_alone_learns(tmp_path) -> None:
    said = program("-m", "torch.distributed.run", "--nproc-per-node", "2", EXAMPLES / "head_alone.py")
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) == 10 and losses[0] == pytest.approx(10.82, abs=0.05)  # log V
    assert all(losses.count(value) % 2 == 0 for value in losses)  # both ranks say the same
