"""Kills runs whose optimizer is shared out over replicas, goes on with another number of replicas, and compares with a run that
nothing disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pinisi.base.errors import PinisiError
from pinisi.bench.packed_balance import VOCABULARY, write_shards
from pinisi.parallel import status
from pinisi.train import checkpoint
from pinisi.train.checkpoint.index import KINDS

STEPS, MICROBATCHES = 30, 6
KILLED_AT = (6, 16)  # a rank is killed once all have come to this step
REPLICAS = (3, 2, 3)  # of the first run, of the one after the first kill, of the last
PATIENCE = 240.0  # seconds

CONFIG = """
[run]
folder = "{folder}/run"
steps = {steps}
seed = {seed}
[model]
dtype = "float64"
[model.config]
model_type = "qwen2"
vocab_size = {vocabulary}
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
tie_word_embeddings = true
[data]
shards = "{folder}/shards"
sequence = 32
[pipeline]
ranks = 1
microbatches = {microbatches}
[optimizer]
learning_rate = 1e-2
[checkpoint]
every = 3
[report]
timeline_every = 0
"""


def measure(seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each seed: how far weights and moments of the killed run are from those of the whole one."""
    return [_measured(seed) for seed in seeds]


def _measured(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pinisi-sharded-") as name:
        folder = Path(name)
        write_shards(folder / "shards", seed)
        text = CONFIG.format(
            folder=folder, steps=STEPS, seed=seed, vocabulary=VOCABULARY, microbatches=MICROBATCHES
        )
        (folder / "config.toml").write_text(text)
        _whole(folder, folder / "alone", 1)
        for replicas, step in zip(REPLICAS, KILLED_AT, strict=False):
            _killed(folder, folder / "run", replicas, step)
        _whole(folder, folder / "run", REPLICAS[-1])
        mine, theirs = _state(folder / "run"), _state(folder / "alone")
    worst = {kind: max(_distance(mine[k], theirs[k]) for k in theirs if k[1] == kind) for kind in KINDS}
    return {
        "seed": seed,
        "replicas": list(REPLICAS),
        "same_names": mine.keys() == theirs.keys(),
        "worst": worst,
    }


def _command(folder: Path, run: Path, replicas: int) -> list[str]:
    more = [
        f"run.folder={run}",
        f"pipeline.data_parallel={replicas}",
        f"pipeline.microbatches={MICROBATCHES // replicas}",
        f"optimizer.sharded={'true' if replicas > 1 else 'false'}",
    ]
    return [sys.executable, "-m", "pinisi", "train", str(folder / "config.toml"), *more]


def _whole(folder: Path, run: Path, replicas: int) -> None:
    done = subprocess.run(_command(folder, run, replicas), capture_output=True, text=True, check=False)
    if done.returncode:
        raise PinisiError(f"a run of {replicas} replicas ended with {done.returncode}: {done.stderr[-2000:]}")


def _killed(folder: Path, run: Path, replicas: int, step: int) -> None:
    """Starts or goes on with a run and kills the last replica's process by SIGKILL once all have come to a step."""
    process = subprocess.Popen(
        _command(folder, run, replicas), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        found = status.read(run / "status", replicas)
        alive = [entry for entry in found.values() if entry.state not in ("", "X", "Z")]
        if len(alive) == replicas and all(entry.step >= step for entry in alive):
            os.kill(found[replicas - 1].process, signal.SIGKILL)
            process.wait(timeout=PATIENCE)
            return
        time.sleep(0.005)
    process.kill()
    raise PinisiError(
        f"a run of {replicas} replicas never came to step {step}: {status.describe(run / 'status')}"
    )


def _state(run: Path) -> dict[tuple[str, str], torch.Tensor]:
    reader = checkpoint.Reader(run / "checkpoints" / f"step-{STEPS:08d}")
    return {(name, kind): reader.get(name, kind=kind) for name in reader.names() for kind in KINDS}


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def line(row: dict[str, Any]) -> str:
    replicas = " → ".join(map(str, row["replicas"]))
    worst = ", ".join(f"{kind} {value:.1e}" for kind, value in row["worst"].items())
    return f"seed {row['seed']}: {replicas} replicas, killed between: relative differences to an undisturbed run: {worst}"
