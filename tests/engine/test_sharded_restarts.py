"""A run whose optimizer is shared out over replicas: killed, and gone on with by another number of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from pinisi.parallel import status
from pinisi.train import checkpoint
from pinisi.train.checkpoint.index import KINDS
from tests.effort import only_full
from tests.engine.runs import TRAIN, losses, pinisi

STEPS = 24
MORE = (
    f"run.steps={STEPS}",
    "checkpoint.every=3",
    "checkpoint.keep=2",
    "data.evaluation=none",
    "model.dtype=float64",
    "pipeline.ranks=1",
)


def settings(run: Path, replicas: int) -> list[str]:
    """Six microbatches a step, over all replicas."""
    sharded = "true" if replicas > 1 else "false"
    shares = (
        f"pipeline.data_parallel={replicas}",
        f"pipeline.microbatches={6 // replicas}",
        f"optimizer.sharded={sharded}",
    )
    return [f"run.folder={run}", *MORE, *shares]


def killed(project: Path, run: Path, replicas: int, step: int) -> None:
    """Kills a rank of a run of so many replicas by SIGKILL, once all have come to a step."""
    process = subprocess.Popen(
        [*TRAIN, str(project / "config.toml"), *settings(run, replicas)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < end:
        found = status.read(run / "status", replicas)
        if len(found) == replicas and all(
            e.step >= step and e.state not in ("", "X", "Z") for e in found.values()
        ):
            os.kill(found[replicas - 1].process, signal.SIGKILL)
            assert process.wait(timeout=120) != 0
            return
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"{process.returncode}: {status.describe(run / 'status')}")


def weights(run: Path) -> dict[str, torch.Tensor]:
    """What the newest checkpoint has of each tensor: master weight and moments."""
    reader = checkpoint.Reader(run / "checkpoints" / f"step-{STEPS:08d}")
    return {f"{name}, {kind}": reader.get(name, kind=kind) for name in reader.names() for kind in KINDS}


@pytest.mark.parametrize(
    "replicas",
    [pytest.param(replicas, marks=only_full) for replicas in ((3, 2), (2, 3), (3, 2, 3))],
    ids=str,
)
def test_killed_and_gone_on_with_by_another_number_of_replicas(project, tmp_path, replicas):
    alone, run = tmp_path / "alone", tmp_path / "run"
    done = pinisi("train", str(project / "config.toml"), *settings(alone, 1))
    assert done.returncode == 0, done.stderr
    *before, last = replicas
    for number, count in enumerate(before):
        killed(project, run, count, 6 + 8 * number)
    done = pinisi("train", str(project / "config.toml"), *settings(run, last))
    assert done.returncode == 0, done.stderr
    found, wanted = losses(run), losses(alone)
    assert found.keys() == wanted.keys()
    assert all(abs(found[step] - wanted[step]) <= 1e-11 * wanted[step] for step in wanted)
    mine, theirs = weights(run), weights(alone)
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert float((mine[name] - tensor).norm()) <= 1e-12 * max(1.0, float(tensor.norm())), name
