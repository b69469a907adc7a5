"""What goes to boards is what stands in metrics.jsonl; the libraries are stood in for by ones that write down their calls."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.config import load
from pinisi.launch.check import check
from tests.effort import only_full

STUB = """
import json, os
def _note(*values):
    with open(os.environ["NOTES"], "a") as out:
        out.write(json.dumps(values, default=str) + "\\n")
class _Run:
    def log(self, numbers, step): _note("log", step, numbers)
    def finish(self): _note("finish")
def init(**given):
    _note("init", given)
    return _Run()
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text(STUB)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    yield tmp_path / "notes"
    sys.modules.pop("wandb", None)


def test_boards_get_the_numbers_of_the_metrics(project, tmp_path, wandb, alone, monkeypatch) -> None:
    shown: list = []

    class Board:
        def add_scalar(self, name, value, step):
            shown.append((step, name, value))

        def close(self):
            shown.append("closed")

    monkeypatch.setattr("pinisi.train.boards._tensorboard", lambda folder, step: Board())
    run = tmp_path / "run"
    more = ("pipeline.ranks=1", "run.steps=2", f"run.folder={run}", "report.wandb=ships", "run.name=pinisi")
    alone(str(project / "config.toml"), *more)
    notes = [json.loads(line) for line in wandb.read_text().splitlines()]
    assert [note[0] for note in notes] == ["init", "log", "log", "log", "log", "finish"]
    given = notes[0][1]
    assert (given["project"], given["name"], given["resume"]) == ("ships", "pinisi", "allow")
    logged = [(note[1], name, value) for note in notes if note[0] == "log" for name, value in note[2].items()]
    assert shown == [*logged, "closed"]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        at = {name: value for step, name, value in logged if step == record["step"]}
        if "evaluation" in record:
            losses = {name: entry["loss"] for name, entry in record["evaluation"].items()}
            assert {f"held_out_loss/{name}": loss for name, loss in losses.items()}.items() <= at.items()
            assert at["held_out_loss"] == pytest.approx(sum(losses.values()) / len(losses))
            worse = {f"worse/{name}": each["worse"] for name, each in record.get("standing", {}).items()}
            assert worse.items() <= at.items() and bool(worse) == (record["step"] > 0)
        elif "components" not in record:
            keys = ("loss", "total_loss", "tokens_per_second", "learning_rate", "gradient_norm")
            assert {key: record[key] for key in keys}.items() <= at.items()
            assert {f"loss/{name}": loss for name, loss in record["losses"].items()}.items() <= at.items()
    alone(str(project / "config.toml"), *more, "run.steps=3")  # goes on as the same run there
    again = [json.loads(line) for line in wandb.read_text().splitlines()][len(notes) :]
    assert again[0][1]["id"] == given["id"] and [note[1] for note in again if note[0] == "log"] == [3, 3]


def test_a_library_that_is_not_there_is_said_before_the_start(project, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DataError, match=r"pip install 'pinisi\[wandb\]'"):
        check(load(project / "config.toml", ["report.wandb=ships"]))


@only_full
def test_tensorboard_shows_each_step_once_with_the_numbers_of_the_metrics(project, tmp_path, alone) -> None:
    """Real event files, of a run that goes on from its second step after its fourth was lost."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    more = ("pipeline.ranks=1", f"run.folder={run}", "report.live=0")
    alone(str(project / "config.toml"), *more, "run.steps=4")
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    alone(str(project / "config.toml"), *more, "run.steps=5")
    read = events.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    shown = {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    assert [record["step"] for record in steps] == [1, 2, 3, 4, 5]
    for key in ("loss", "total_loss", "tokens_per_second", "learning_rate", "gradient_norm"):
        assert [step for step, _ in shown[key]] == [1, 2, 3, 4, 5]
        assert [value for _, value in shown[key]] == pytest.approx([record[key] for record in steps])
    found = [(record["step"], record["evaluation"]) for record in records if "evaluation" in record]
    means = [(step, sum(e["loss"] for e in each.values()) / len(each)) for step, each in found]
    assert [step for step, _ in shown["held_out_loss"]] == [step for step, _ in means]
    assert [value for _, value in shown["held_out_loss"]] == pytest.approx([mean for _, mean in means])
