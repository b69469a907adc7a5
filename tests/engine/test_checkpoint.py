"""One rank's checkpoint without a pipeline around it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pinisi.base.errors import CheckpointError
from pinisi.engine import checkpoint
from pinisi.engine.optimizer import Optimizer, Slot


def optimizer() -> Optimizer:
    parameter = nn.Parameter(torch.arange(6.0).view(2, 3))
    slot = Slot("a.weight", parameter, torch.zeros(2, 3), (2, 3))
    return Optimizer([slot], betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1, clip=1.0)


def save(folder, step: int) -> None:
    checkpoint.save(folder, step, optimizer(), {"updates": 0}, rank=0, group=None, keep=3)


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
    none = Optimizer([], betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1, clip=1.0)
    with pytest.raises(CheckpointError, match="a frozen engine takes no checkpoint"):
        checkpoint.restore(checkpoint.Reader(checkpoint.latest(tmp_path)), none)
