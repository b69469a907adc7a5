"""A run whose newest checkpoint is damaged goes on from the older one, bit for bit, and says so."""

from __future__ import annotations

import shutil

from pinisi.train.export import export
from tests.effort import only_full
from tests.engine.runs import losses, pinisi
from tests.engine.test_checkpoint import flipped


@only_full
def test_a_flipped_byte_is_named_and_the_older_checkpoint_resumed(project, whole, tmp_path, capfd):
    run = tmp_path / "run"
    shutil.copytree(whole / "checkpoints", run / "checkpoints")
    newest = run / "checkpoints" / "step-00000006"
    flipped(newest / "rank-00001.safetensors", 0.8)
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none")
    said = capfd.readouterr().out
    assert done.returncode == 0, done.stderr
    assert f"passed over: {newest / 'rank-00001.safetensors'} is damaged" in said and "step-00000004" in said
    wanted = losses(whole)
    assert losses(run) == {step: wanted[step] for step in (5, 6)}


def test_an_export_passes_damage_over_or_refuses_the_step_that_was_asked_for(project, whole, tmp_path):
    run, told = tmp_path / "run", []
    shutil.copytree(whole / "checkpoints", run / "checkpoints")
    flipped(run / "checkpoints" / "step-00000006" / "rank-00000.safetensors", 0.8)
    export(run, tmp_path / "out", report=told.append)
    assert len(told) == 1 and "step-00000006/rank-00000.safetensors is damaged" in told[0]
    done = pinisi("export", str(run), "--out", str(tmp_path / "other"), "--step", "6")
    assert done.returncode == 2 and "is damaged" in done.stderr and not (tmp_path / "other").exists()


def test_inspect_compares_the_digests_of_runs_checkpoints_and_shards(project, whole, tmp_path, capsys):
    for folder in (whole, whole / "checkpoints" / "step-00000006", project / "shards"):
        assert pinisi("inspect", str(folder), "--verify").returncode == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6 and all(line.endswith("is as it was written") for line in said)
    shutil.copytree(project / "shards", tmp_path / "shards")
    flipped(tmp_path / "shards" / "00000" / "km.tokens")
    assert pinisi("inspect", str(tmp_path / "shards"), "--verify").returncode == 1
    assert "km.tokens is damaged" in capsys.readouterr().out
    assert "is no folder of token shards" in pinisi("inspect", str(tmp_path), "--verify").stderr
    assert "without POSITION" in pinisi("inspect", str(project / "shards"), "km").stderr


def test_damaged_shards_are_named_before_the_first_step(project, tmp_path):
    shutil.copytree(project / "shards", tmp_path / "shards")
    flipped(tmp_path / "shards" / "00000" / "km.tokens")
    settings = (f"run.folder={tmp_path}/run", f"data.shards={tmp_path}/shards")
    done = pinisi("train", str(project / "config.toml"), *settings)
    assert done.returncode == 1 and "km.tokens is damaged" in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()
    done = pinisi("train", str(project / "config.toml"), *settings, "data.verify=false", "run.steps=1")
    assert done.returncode == 0, done.stderr
