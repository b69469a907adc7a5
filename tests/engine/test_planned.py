"""Plans taken all the way: measured here, written as a configuration, trained by real ranks."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from dataclasses import replace

import pytest

from pinisi.base.errors import ConfigError
from pinisi.base.settings import dump
from pinisi.cli import main as cli
from pinisi.config import load
from pinisi.costs.hardware import PRESETS
from pinisi.launch.check import check_world
from pinisi.models import read_spec
from pinisi.schedule import Schedule, Timeline, build
from pinisi.train.planned import planned
from tests.effort import only_full
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
    found = load(written).pipeline
    assert (found.name, found.ranks, found.data_parallel, found.microbatches) == ("v-half", 2, 2, 3)
    assert best["microbatches_of_step"] == 6 and found.layers == best["layers"]
    run = tmp_path / "run"
    less = ["run.steps=3", "data.evaluation=none", "checkpoint.every=0"]
    done = pinisi("train", str(written), f"run.folder={run}", *less)
    assert done.returncode == 0, done.stderr
    assert sorted(losses(run)) == [1, 2, 3] and losses(run)[3] < losses(run)[1]
    assert len(list((run / "logs").iterdir())) == 4
    timeline = json.loads((run / "timeline.json").read_text())["measured"]
    assert len(timeline["spans"]) == 2


def test_more_ranks_than_named_replicas_are_refused(project) -> None:
    config = load(project / "config.toml", ["pipeline.data_parallel=2"])
    check_world(config, 4)
    check_world(load(project / "config.toml"), 6)
    with pytest.raises(ConfigError, match=r"3 ranks were started for pipeline.data_parallel = 2 .* start 4"):
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


@only_full
def test_a_searched_order_is_written_and_trained(project, tmp_path, capsys) -> None:
    """On two ranks; the measured timeline has the very order of the file."""
    written, plan = tmp_path / "planned.toml", tmp_path / "plan.json"
    arguments = [
        "plan",
        str(project / "config.toml"),
        "--ranks",
        "2",
        "--replicas",
        "1",
        "--microbatches",
        "6",
    ]
    # A device whose arithmetic takes so long that launches and messages of the tiny model don't count.
    given = PRESETS["A100-80G"]
    slow = replace(given, flops={k: v / 1e6 for k, v in given.flops.items()}, bandwidth=given.bandwidth / 1e6)
    (tmp_path / "slow.toml").write_text(dump(slow))
    arguments += ["--hardware", str(tmp_path / "slow.toml"), "--schedules", "1f1b", "--search", "6"]
    arguments += ["--json", str(plan), "--write", str(written), "--explain", "1"]
    assert cli(arguments) == 0
    rows = json.loads(plan.read_text())["rows"]
    found, barriers = rows[0], rows[0]["barriers"]
    assert found["searched"]
    own = [row for row in rows if row["barriers"] == barriers and row["layers"] == found["layers"]]
    assert found["step_s"] < min(row["step_s"] for row in own if not row["searched"])
    assert "order of passes was searched" in capsys.readouterr().out
    table = Schedule.from_text(written.with_suffix(".schedule").read_text())
    run = tmp_path / "run"
    less = ["run.steps=2", "data.evaluation=none", "checkpoint.every=0"]
    done = pinisi("train", str(written), f"run.folder={run}", *less)
    assert done.returncode == 0, done.stderr
    timeline = Timeline.from_dict(json.loads((run / "timeline.json").read_text())["measured"])
    assert tuple(tuple(span.pass_ for span in spans) for spans in timeline.spans) == table.order
    assert build("1f1b", 2, 6, barriers=barriers).order != table.order
    for change, words in (
        ("pipeline.microbatches=5", "microbatches 6, .* says 5"),
        (f"pipeline.barriers={3 - barriers}", f"barriers {barriers}, .* says {3 - barriers}"),
        (f"pipeline.table={tmp_path}/none", "none.* can't be read"),
    ):
        with pytest.raises(ConfigError, match=words):
            config = load(written, [change])
            planned(config, read_spec(config.model.source or config.model.config))
