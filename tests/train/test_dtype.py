"""What a run trains in where model.dtype isn't set: what the source is stored in, or what the run has begun in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pinisi.config import load
from pinisi.models import RandomWeights, read_spec, write_folder
from pinisi.models.stored import stored_dtype
from pinisi.train import checkpoint
from pinisi.train.building import dtype_of, with_dtype
from tests.data.conftest import write_corpus, write_tokenizer
from tests.engine.runs import pinisi
from tests.train.test_generate import MODEL

TOML = """
[run]
folder = "run"
steps = 2
[model]
source = "source"
[data]
shards = "shards"
sequence = 16
[pipeline]
ranks = 1
microbatches = 2
[optimizer]
learning_rate = 1e-3
[checkpoint]
every = 1
"""
KINDS = {"bfloat16": "bfloat16", "float32": "float32", "float64": "float64", "float16": "float32"}


def write_source(folder: Path, dtype: torch.dtype, said: str | None = None) -> Path:
    """A model's folder whose weights are of `dtype`, whatever its config says."""
    spec = read_spec(MODEL)
    weights = RandomWeights(spec, 3)
    write_folder(spec, ((n, weights.get(n).to(dtype)) for n in weights.names()), folder)
    values = json.loads((folder / "config.json").read_text())
    values.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(values | ({"torch_dtype": said} if said else {})))
    return folder


@pytest.mark.parametrize("stored", list(KINDS))
def test_the_files_say_what_is_stored(stored: str, tmp_path: Path) -> None:
    for number, said in enumerate((None, "bfloat16", "float32")):
        folder = write_source(tmp_path / str(number), getattr(torch, stored), said)
        assert stored_dtype(read_spec(folder)) == KINDS[stored]
    assert stored_dtype(read_spec(MODEL | {"dtype": "bfloat16"})) == "float32"  # a random start


def test_a_bf16_source_trains_in_bf16_and_a_run_stays_what_it_is(tmp_path: Path, capfd) -> None:
    write_corpus(tmp_path / "text")
    write_tokenizer(tmp_path / "tokenizer")
    tokenized = pinisi("tokenize", str(tmp_path / "text"), "--tokenizer", str(tmp_path / "tokenizer"), "--out",
                       str(tmp_path / "shards"), "--workers", "1")  # fmt: skip
    assert tokenized.returncode == 0
    write_source(tmp_path / "source", torch.bfloat16)
    (tmp_path / "run.toml").write_text(TOML)
    file = str(tmp_path / "run.toml")
    assert pinisi("train", file, "run.steps=1").returncode == 0
    assert "trains in bfloat16" in capfd.readouterr().out
    newest = checkpoint.newest_whole(tmp_path / "run" / "checkpoints").reader
    assert newest is not None and newest.index["dtype"] == "bfloat16"
    assert load(tmp_path / "run" / "config.toml").model.dtype == "bfloat16"
    other = tmp_path / "other"
    assert pinisi("train", file, "run.steps=1", "model.dtype=float32", f"run.folder={other}").returncode == 0
    assert "trains in" not in capfd.readouterr().out
    config = load(file, [f"run.folder={other}"])
    assert dtype_of(config, read_spec(tmp_path / "source")) == "float32"  # it goes on as it began
    told = replace(config, model=replace(config.model, dtype="float64"))
    assert with_dtype(told, say=True) is told
