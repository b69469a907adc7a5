"""benchmarks/gpu.py, by which all is measured where there is a GPU, runs on a CPU; what it finds there is right."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pinisi.models.attention.backends import BACKENDS
from pinisi.schedule import names
from tests.effort import only_full

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
CHECKED = ("attention", "schedule", "races")


def rows_of(out: Path, *more: str) -> list[dict]:
    """What the script writes to a file, as its user starts it."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--json", str(out), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())["rows"]


@only_full
def test_ours_is_no_worse_than_torch(tmp_path):
    rows = rows_of(tmp_path / "gpu.json", "--parts", "errors")
    assert rows and all(row["what"] == "errors" and row["no_worse"] for row in rows)


@only_full
def test_it_runs_to_its_end(tmp_path):
    rows = rows_of(tmp_path / "gpu.json")
    assert list(dict.fromkeys(row["what"] for row in rows)) == [
        *("attention", "schedule", "races"),
        *("errors", "kernel", "shard", "step"),
    ]
    assert all(row.get("ok", "not_run" in row or "refused" in row) for row in rows if row["what"] in CHECKED)
    ran = [row for row in rows if row["what"] == "attention" and "ok" in row]
    assert {row["backend"] for row in ran} == {"blocks"} and len({row["model"] for row in ran}) == 8
    schedules = [row for row in rows if row["what"] == "schedule"]
    assert {row["schedule"] for row in schedules} == set(names()) and all("ok" in row for row in schedules)
    assert all("cuda" in row["not_run"].lower() for row in rows if "not_run" in row), (
        "a reason that is no GPU's"
    )
    assert all(row["no_worse"] for row in rows if row["what"] == "errors")
    steps = [row for row in rows if row["what"] == "step" and row["dtype"] == "torch.float32"]
    assert steps and all(row["gradient_difference"] < 1e-5 for row in steps)


@pytest.fixture
def checks(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu_checks

    return gpu_checks


def test_a_backend_that_lets_documents_see_each_other_is_found(checks, monkeypatch):
    """On a GPU flex and varlen are judged by the same rows."""
    blocks = BACKENDS["blocks"]

    def leaking(bounds, window, device):
        return blocks.prepare(replace(bounds, lengths=((bounds.sequence,),)), window, device)

    monkeypatch.setitem(BACKENDS, "blocks", replace(blocks, prepare=leaking))
    monkeypatch.setattr(checks, "ARCHITECTURES", {"qwen2": None})
    found = [row for row in checks.attention_rows(torch.device("cpu")) if row["backend"] == "blocks"]
    assert found and not any(row["ok"] for row in found)


def test_a_gradient_that_lacks_a_microbatch_is_found(checks, monkeypatch):
    """What a race on a GPU would do to a buffer."""
    monkeypatch.setattr(checks, "names", lambda: ["zb-h1"])
    step = checks.Engine.gradients

    def short(engine, batch):
        found = step(engine, batch)
        engine.slots[3].gradient.mul_(0.999)
        return found

    monkeypatch.setattr(checks.Engine, "gradients", short)
    monkeypatch.setattr(checks, "LIMITS", {torch.float64: 1e-9})
    found = list(checks.schedule_rows(torch.device("cpu")))
    assert len(found) == 3 and not any(row["ok"] for row in found)
