"""Runs through the command line: a tiny project, and what its tests read of it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

from pinisi.cli import main

CONFIG = """
[run]
folder = "{folder}/run"
steps = 6
[model]
tokenizer = "{folder}/tokenizer"
[model.config]
model_type = "qwen2"
vocab_size = 503
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 4
num_attention_heads = 4
num_key_value_heads = 2
tie_word_embeddings = true
[data]
shards = "{folder}/shards"
evaluation = "{folder}/shards"
sequence = 16
[pipeline]
ranks = 2
microbatches = 3
[optimizer]
learning_rate = 1e-2
[checkpoint]
every = 2
keep = 9
"""


class Done(NamedTuple):
    returncode: int
    stderr: str


def pinisi(*arguments: str) -> Done:
    """The command in this process, which spares an import; the ranks of `train` are processes of their own, as always."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(arguments)
    return Done(code, said.getvalue())


TRAIN = (sys.executable, "-m", "pinisi", "train")


def continued(run: Path, other: Path, *, step: int) -> None:
    """Let `run` go on from another run's checkpoint."""
    name = f"step-{step:08d}"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / name).symlink_to(other / "checkpoints" / name)


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def process_of(run: Path, rank: int) -> int:
    """The process that writes a rank's log."""
    for path in Path("/proc").glob("[0-9]*/fd/2"):
        try:
            if path.readlink() == (run / "logs" / f"rank-{rank:05d}.log").resolve():
                return int(path.parent.parent.name)
        except OSError:
            continue
    raise AssertionError("no such rank")
