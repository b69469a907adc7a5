"""Runs through the command line: a tiny project, and what its tests read of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
[schedule]
ranks = 2
microbatches = 3
[optimizer]
learning_rate = 1e-2
[checkpoint]
every = 2
keep = 9
"""


def pinisi(*arguments: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pinisi", *arguments], capture_output=True, text=True, timeout=120, **more
    )


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def child(parent: int, rank: int) -> int:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                environment = (path.parent / "environ").read_bytes().split(b"\0")
                if f"RANK={rank}".encode() in environment:
                    return int(path.parent.name)
        except (OSError, ValueError):
            continue
    raise AssertionError("no such rank")
