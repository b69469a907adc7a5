"""Runs that branch off another one's checkpoint: the same bits as the trunk where nothing differs, and the trunk as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pinisi.base.errors import CheckpointError, ConfigError, DataError
from pinisi.config import load
from pinisi.launch.check import check
from tests.effort import only_full
from tests.engine.runs import losses, pinisi

MORE = (
    *("pipeline.ranks=1", "checkpoint.every=2", "checkpoint.keep=9", "data.evaluation=none", "report.live=0"),
    *("optimizer.schedule=constant", "optimizer.warmup=1", "optimizer.average=0.5"),
)


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def trunk(project, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("trunk") / "trunk"
    done = pinisi("train", str(project / "config.toml"), *MORE, f"run.folder={run}", "run.steps=7")
    assert done.returncode == 0, done.stderr
    return run


def branched(project, trunk, *more: str, step: int = 4) -> list[str]:
    start = trunk / "checkpoints" / f"step-{step:08d}"
    return ["train", str(project / "config.toml"), *MORE, f"run.branch={start}", "optimizer.warmup=0", *more]


def test_a_branch_goes_on_as_the_trunk_did_and_leaves_it_alone(project, trunk, tmp_path) -> None:
    before = contents(trunk)
    done = pinisi(*branched(project, trunk, f"run.folder={tmp_path}/same", "run.steps=3"))
    assert done.returncode == 0, done.stderr
    wanted = losses(trunk)
    assert losses(tmp_path / "same") == {step - 4: wanted[step] for step in (5, 6, 7)}
    assert contents(trunk) == before


@only_full
def test_several_endings_of_one_trunk_let_the_rate_fall(project, trunk, tmp_path) -> None:
    before, wanted = contents(trunk), losses(trunk)
    for steps, end in ((2, "short"), (3, "long")):
        more = (
            f"run.folder={tmp_path}/{end}",
            f"run.steps={steps}",
            "optimizer.schedule=wsd",
            f"optimizer.decay={steps}",
        )
        assert pinisi(*branched(project, trunk, *more)).returncode == 0
        assert losses(tmp_path / end)[1] == wanted[5]
    assert losses(tmp_path / "long")[2] == wanted[6]  # the first step of three still has the whole rate
    assert losses(tmp_path / "long")[3] != wanted[7]
    assert contents(trunk) == before


def test_what_a_branch_cannot_go_on_from_is_said(project, trunk, tmp_path) -> None:
    def checked(*more: str) -> None:
        arguments = branched(project, trunk, f"run.folder={tmp_path}/other", "run.steps=2", *more)
        check(load(arguments[1], arguments[2:]))

    checked()
    with pytest.raises(DataError, match="was trained with the seed 0, this run has 1"):
        checked("run.seed=1")
    with pytest.raises(CheckpointError, match="hidden_size"):
        checked("model.config.hidden_size=64")
    with pytest.raises(ConfigError, match=r"run\.branch is .* to be left out where there is run\.start"):
        checked(f"run.start={trunk}/checkpoints/step-00000004")
    with pytest.raises(CheckpointError, match="no such file"):
        checked(f"run.branch={trunk}/checkpoints/step-00000099")
