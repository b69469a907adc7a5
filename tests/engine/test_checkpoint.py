"""One rank's checkpoint without a pipeline around it."""

from __future__ import annotations

import json
import os

import pytest
import torch
from torch import nn

from pinisi.base.digests import of_index
from pinisi.base.errors import CheckpointError
from pinisi.engine.optimizer import Optimizer, Slot
from pinisi.train import checkpoint
from pinisi.train.checkpoint import retention


def optimizer() -> Optimizer:
    parameter = nn.Parameter(torch.arange(6.0).view(2, 3))
    slot = Slot("a.weight", parameter, torch.zeros(2, 3), (2, 3))
    return Optimizer([slot])


def save(folder, step: int, keep: int = 3) -> None:
    checkpoint.save(folder, step, optimizer(), {"updates": 0}, rank=0, group=None, keep=keep)


def test_what_is_saved_is_read(tmp_path):
    save(tmp_path, 1)
    found = checkpoint.Reader(checkpoint.latest(tmp_path)).get("a.weight", range(1, 2))
    assert torch.equal(found, torch.tensor([[3.0, 4.0, 5.0]]))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"step 7 was not saved.*checkpoints/\.step-00000007"):
        save(tmp_path / "checkpoints", 7)


def test_a_frozen_engines_optimizer_is_refused(tmp_path):
    save(tmp_path, 1)
    none = Optimizer([])
    with pytest.raises(CheckpointError, match="a frozen engine takes no checkpoint"):
        checkpoint.restore(checkpoint.Reader(checkpoint.latest(tmp_path)), none)


def edited(folder, without: str = "", **values) -> None:
    """An index that somebody has changed, digest and all."""
    index = json.loads((folder / "index.json").read_text()) | values
    index.pop(without, None)
    index["digest"] = of_index(index)
    (folder / "index.json").write_text(json.dumps(index))


def as_pipe(path) -> None:
    path.unlink()
    os.mkfifo(path)


def flipped(path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(bytes(data))


DAMAGES = {
    "a flipped byte of the tensors": lambda folder: flipped(folder / "rank-00000.safetensors", 0.9),
    "a flipped byte of their header": lambda folder: flipped(folder / "rank-00000.safetensors", 0.2),
    "zeroed tensors": lambda folder: (folder / "rank-00000.safetensors").write_bytes(
        b"\0" * (folder / "rank-00000.safetensors").stat().st_size
    ),
    "a missing file": lambda folder: (folder / "rank-00000.safetensors").unlink(),
    "a missing index": lambda folder: (folder / "index.json").unlink(),
    "an index without its digest": lambda folder: (folder / "index.json").write_text(
        (folder / "index.json").read_text().replace('"digest":', '"digdst":')
    ),
    "another format": lambda folder: (folder / "index.json").write_text(
        (folder / "index.json").read_text().replace('"format": 2', '"format": 3')
    ),
    "a torn index": lambda folder: (folder / "index.json").write_text("{"),
    "an empty index": lambda folder: (folder / "index.json").write_text(""),
    "an index nested deep": lambda folder: (folder / "index.json").write_text("[" * 100_000),
    "an index without its step": lambda folder: edited(folder, without="step"),
    "an index without its tensors": lambda folder: edited(folder, without="tensors"),
    "a step that is text": lambda folder: edited(folder, step="2"),
    "files that are a list": lambda folder: edited(folder, files=[]),
    "a pipe for an index": lambda folder: as_pipe(folder / "index.json"),
    "a pipe for tensors": lambda folder: as_pipe(folder / "rank-00000.safetensors"),
    "another step": lambda folder: (folder / "index.json").write_text(
        (folder / "index.json").read_text().replace('"updates": 0', '"updates": 5')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_the_older_checkpoint_found(tmp_path, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert checkpoint.newest_whole(tmp_path).reader.step == 2
    DAMAGES[damage](tmp_path / "step-00000002")
    found = checkpoint.newest_whole(tmp_path)
    assert found.reader.step == 1
    assert len(found.passed_over) == 1 and "step-00000002" in found.passed_over[0]
    assert any(
        f"step-00000002/{name}" in found.passed_over[0] for name in ("index.json", "rank-00000.safetensors")
    )
    DAMAGES[damage](tmp_path / "step-00000001") if "another" not in damage else None
    if "another" not in damage:
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole: .*00000002.*; .*00000001"):
            checkpoint.newest_whole(tmp_path)


def test_a_checkpoint_under_the_name_of_another_is_passed_over(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000003")
    found = checkpoint.newest_whole(tmp_path)
    assert found.reader.step == 1 and "step-00000003 is damaged" in found.passed_over[0]


def test_steps_of_nine_digits_are_found(tmp_path):
    save(tmp_path, 99_999_999)
    save(tmp_path, 100_000_000)
    assert checkpoint.newest_whole(tmp_path).reader.step == 100_000_000


def test_files_where_a_checkpoint_is_made_are_in_nobodys_way(tmp_path):
    for name in (".step-00000001.partial", ".step-00000001.old", ".step-00000002.old"):
        (tmp_path / name).write_text("left over")
    save(tmp_path, 1)
    save(tmp_path, 2, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_without_a_checkpoint_none_is_found_and_old_ones_without_digests_are_read(tmp_path):
    assert checkpoint.newest_whole(tmp_path) == (None, [])
    save(tmp_path, 1)
    path = tmp_path / "step-00000001" / "index.json"
    index = json.loads(path.read_text())
    del index["digest"], index["files"]
    path.write_text(json.dumps(index))
    assert checkpoint.newest_whole(tmp_path).reader.step == 1


def test_a_damaged_newer_checkpoint_is_not_kept_instead_of_the_one_just_saved(tmp_path):
    """The run has passed the newest over, and saves a step before that."""
    save(tmp_path, 1)
    save(tmp_path, 6)
    flipped(tmp_path / "step-00000006" / "rank-00000.safetensors", 0.9)
    save(tmp_path, 4, keep=1)
    found = checkpoint.newest_whole(tmp_path)
    assert found.reader.step == 4 and "step-00000006" in found.passed_over[0]
    assert [step for step, _ in checkpoint.steps(tmp_path)] == [4, 6]


def test_what_a_killed_run_left_half_saved_is_removed_and_no_checkpoint_is_half_dropped(
    tmp_path, monkeypatch
):
    (tmp_path / ".step-00000003.partial").mkdir()
    save(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]

    def killed(path, ignore_errors=False):
        if path.exists():
            (path / "index.json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retention.shutil, "rmtree", killed)
        save(tmp_path, 2, keep=1)
    assert [step for step, _ in checkpoint.steps(tmp_path)] == [2]
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
