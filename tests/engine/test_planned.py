"""Plans taken all the way: measured here, written as a configuration, trained by real ranks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tomllib

import pytest

from pinisi.cli import main as cli
from pinisi.config import load
from tests.engine.runs import losses, pinisi

MEASURED = ("forward", "backward", "weight", "s1", "t1", "s2", "t2")


@pytest.fixture(scope="module")
def hardware(project, tmp_path_factory):
    """This machine, measured for the project's model."""
    out = tmp_path_factory.mktemp("measured") / "here.toml"
    arguments = ["--ranks", "2", "--microbatches", "6", "--hardware", "measure", "--save-hardware", str(out)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli(["plan", str(project / "config.toml"), *arguments]) == 0
    assert all(words in printed.getvalue() for words in ("measuring with", "us; all-reduce", "tokens/s"))
    return out


@pytest.mark.parametrize(
    ("schedule", "replicas"),
    [("v-half", 1), ("1f1b", 2)],  # two stages a rank, then two pipelines of one rank
)
def test_the_written_plan_is_trained(project, hardware, schedule, replicas, tmp_path, capsys) -> None:
    written, plan = tmp_path / "planned.toml", tmp_path / "plan.json"
    arguments = ["plan", str(project / "config.toml"), "--ranks", "2", "--replicas", str(replicas)]
    arguments += ["--microbatches", "6", "--hardware", str(hardware), "--schedules", schedule]
    assert cli([*arguments, "--write", str(written), "--json", str(plan)]) == 0
    assert f"{2 // replicas}x{replicas}" in capsys.readouterr().out
    best = json.loads(plan.read_text())["rows"][0]
    found = load(written).schedule
    assert (found.name, found.ranks, found.replicas) == (schedule, 2 // replicas, replicas)
    assert found.microbatches * replicas == 6 == best["microbatches_of_step"]
    assert found.layers == best["layers"]
    run = tmp_path / "run"
    less = ["run.steps=3", "data.evaluation=none", "checkpoint.every=0"]
    done = pinisi("train", str(written), f"run.folder={run}", *less)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(losses(run)) == [1, 2, 3] and losses(run)[3] < losses(run)[1]
    logs = sorted(path.name for path in (run / "logs").iterdir())
    assert logs == ["rank-00000.log", "rank-00001.log"]
    timeline = json.loads((run / "timeline.json").read_text())["measured"]
    assert len(timeline["spans"]) == 2 // replicas


def test_more_ranks_than_named_replicas_are_refused(project) -> None:
    where = {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = pinisi(
        "train",
        str(project / "config.toml"),
        "schedule.replicas=2",
        f"run.folder={project}/never",
        env={**os.environ, **where},
    )
    assert done.returncode == 1
    assert "3 ranks were started for schedule.replicas = 2" in done.stderr and "start 4" in done.stderr


def test_what_was_measured_is_this_models_only(project, hardware, capsys) -> None:
    values = tomllib.loads(hardware.read_text())["measured"]
    assert (values["sequence"], values["microbatch"], values["dtype"]) == (16, 1, "float32")
    for name in MEASURED:
        fixed, each = values[name]
        assert 0 <= fixed < 1 and 0 <= each < 1 and fixed + each > 0, name
    assert values["model"].startswith("4x32-v503-")
    arguments = ["plan", str(project / "config.toml"), "--ranks", "2", "--microbatches", "6"]
    assert cli([*arguments, "--hardware", str(hardware), "--sequence", "32"]) == 2
    assert "measured with sequence 16, not 32" in capsys.readouterr().err
