"""Plans taken all the way: measured here, written as a configuration, trained by real ranks."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib

import pytest

from pinisi.cli import main as cli
from pinisi.config import load
from pinisi.engine.start import check_world
from pinisi.errors import ConfigError
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


def test_the_written_plan_is_trained(project, hardware, tmp_path, capsys) -> None:
    """Two pipelines side by side of two ranks with two stages each."""
    written, plan = tmp_path / "planned.toml", tmp_path / "plan.json"
    arguments = ["plan", str(project / "config.toml"), "--ranks", "4", "--replicas", "2"]
    arguments += ["--microbatches", "6", "--hardware", str(hardware), "--schedules", "v-half"]
    assert cli([*arguments, "--write", str(written), "--json", str(plan)]) == 0
    assert " 2x2 " in capsys.readouterr().out
    best = json.loads(plan.read_text())["rows"][0]
    found = load(written).schedule
    assert (found.name, found.ranks, found.replicas, found.microbatches) == ("v-half", 2, 2, 3)
    assert best["microbatches_of_step"] == 6 and found.layers == best["layers"]
    run = tmp_path / "run"
    less = ["run.steps=3", "data.evaluation=none", "checkpoint.every=0"]
    done = pinisi("train", str(written), f"run.folder={run}", *less)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(losses(run)) == [1, 2, 3] and losses(run)[3] < losses(run)[1]
    assert len(list((run / "logs").iterdir())) == 4
    timeline = json.loads((run / "timeline.json").read_text())["measured"]
    assert len(timeline["spans"]) == 2


def test_more_ranks_than_named_replicas_are_refused(project) -> None:
    config = load(project / "config.toml", ["schedule.replicas=2"])
    check_world(config, 4)
    check_world(load(project / "config.toml"), 6)
    with pytest.raises(ConfigError, match=r"3 ranks were started for schedule.replicas = 2 .* start 4"):
        check_world(config, 3)


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
