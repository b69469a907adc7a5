"""torchrun starts the ranks again when one has died: they go on from the newest checkpoint, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinisi.parallel import status
from pinisi.parallel.place import free_port
from pinisi.parallel.rendezvous import attempt
from tests.effort import only_full
from tests.engine.runs import losses, pinisi

MORE = ("run.steps=40", "checkpoint.every=5", "data.evaluation=none")


@pytest.fixture(scope="module")
def uninterrupted(project) -> Path:
    run = project / "uninterrupted"
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *MORE)
    assert done.returncode == 0, done.stderr
    return run


def killed(run: Path, victim: int, step: int, others: set[int]) -> set[int]:
    """Kills a rank once it has come to `step` in a process that isn't one of `others`; returns the ranks' processes."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = status.read(run / "status")
        if len(found) == 2 and all(e.step >= step and e.process not in others for e in found.values()):
            os.kill(found[victim].process, signal.SIGKILL)
            return {e.process for e in found.values()}
        time.sleep(0.005)
    raise AssertionError(status.describe(run / "status"))


@pytest.mark.parametrize(
    ("meeting", "victims"),
    [
        pytest.param(["--standalone"], [1], marks=only_full),
        pytest.param(["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:{port}"], [1, 0, 1], marks=only_full),
        pytest.param(["--master-addr=127.0.0.1", "--master-port={port}"], [0, 1], marks=only_full),
    ],
)
def test_a_killed_rank_is_recovered_from(project, uninterrupted, tmp_path, meeting, victims):
    run = tmp_path / "run"
    meeting = [option.format(port=free_port()) for option in meeting]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting, "--nproc-per-node=2"]
    command += [f"--max-restarts={len(victims)}", "-m", "pinisi", "train", str(project / "config.toml")]
    agent = subprocess.Popen(
        [*command, f"run.folder={run}", *MORE], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        others: set[int] = set()
        for number, victim in enumerate(victims):
            others |= killed(run, victim, 6 + 10 * number, others)
        _, errors = agent.communicate(timeout=300)
    finally:
        agent.terminate()
    assert agent.returncode == 0, errors
    assert losses(run) == losses(uninterrupted) and len(losses(run)) == 40


def test_each_restart_meets_at_a_place_of_its_own(monkeypatch):
    """torchrun's store outlives the ranks, and with it the addresses that they listened on."""
    names = {attempt(2)}
    for run, count in (("a", "0"), ("a", "1"), ("b", "1")):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        names |= {attempt(2), attempt(4)}
    assert len(names) == 7
