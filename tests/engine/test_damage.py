"""A run whose newest checkpoint is damaged goes on from the older one, bit for bit, and says so."""

from __future__ import annotations

import shutil

from pinisi.engine.export import export
from tests.engine.runs import losses, pinisi
from tests.engine.test_checkpoint import flipped


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
