"""A checkpoint of format 1, as the version that wrote it left it, is read, resumed and exported.

format1/step-00000002 is of two ranks, with the losses of the run that made it (its "tokenizer", a path, was emptied).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pinisi.models import build_stage, read_spec
from pinisi.train import checkpoint
from pinisi.train.export import export
from tests.engine.runs import losses, pinisi

OLD = Path(__file__).parent / "format1"
MODEL = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": "false",
}


def put_together() -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint, rows of both ranks behind each other, as its files have them."""
    files = [load_file(OLD / "step-00000002" / f"rank-{rank:05d}.safetensors") for rank in (0, 1)]
    names = dict.fromkeys(name for file in files for name in file)
    return {name: torch.cat([file[name] for file in files if name in file]) for name in names}


def test_it_is_read_whole_and_by_rows():
    found = checkpoint.newest_whole(OLD)
    reader, wanted = found.reader, put_together()
    assert reader.index["format"] == 1 and reader.step == 2 and not found.passed_over
    assert len(wanted) == 3 * len(reader.names())
    for name in reader.names():
        for kind in checkpoint.KINDS:
            tensor = wanted[name if kind == "weight" else f"{kind}/{name}"]
            assert torch.equal(reader.get(name, kind=kind), tensor)
            rows = range(len(tensor) // 3, len(tensor) - 1)
            assert torch.equal(reader.get(name, rows, kind), tensor[rows.start : rows.stop])


def test_a_model_is_built_from_it():
    """A checkpoint is a source of weights, such as a frozen engine is built from."""
    reader = checkpoint.newest_whole(OLD).reader
    spec = read_spec(reader.index["config"])
    stage = build_stage(spec, range(spec.layers), reader, embedding=True, head=True)
    wanted = put_together()
    parameters = dict(stage.named_parameters())
    assert parameters.keys() == set(reader.names())
    assert all(torch.equal(parameter, wanted[name]) for name, parameter in parameters.items())


@pytest.mark.parametrize("ranks", [1, 2])
def test_it_is_resumed_and_exported(ranks, project, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(OLD, run / "checkpoints")
    model = [f"model.config.{key}={value}" for key, value in MODEL.items()]
    more = [f"run.folder={run}", "run.steps=4", "data.evaluation=none", f"pipeline.ranks={ranks}"]
    done = pinisi("train", str(project / "config.toml"), *model, *more)
    assert done.returncode == 0, done.stderr
    then = json.loads((OLD / "losses.json").read_text())
    found = losses(run)
    assert sorted(found) == [3, 4]
    assert found == {step: pytest.approx(then[str(step)], rel=1e-6) for step in (3, 4)}
    assert checkpoint.newest_whole(run / "checkpoints").reader.index["format"] == 2
    out = export(run, tmp_path / "out", step=2, tokenizer=str(project / "tokenizer"))
    wanted = put_together()
    exported = load_file(out / "model.safetensors")
    assert exported.keys() == {name for name in wanted if not name.startswith("exp_avg")}
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in exported.items())
