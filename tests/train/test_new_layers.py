"""A phase that trains new layers alone (LlamaFactory#7558: 6 to 9 layers, new at 2, 5, 8), over stages, stopped, gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError, ModelError
from pinisi.config import load
from pinisi.cookbook.expand import ExpandOptions, expand_model
from pinisi.data import tokenize
from pinisi.launch.check import check
from pinisi.models import new_layers, read_spec
from pinisi.models.surgery.vocabulary import stored_weights
from pinisi.train.checkpoint import Reader
from tests.cookbook.made_models import drawn_texts, tiny_model
from tests.data.conftest import write_corpus
from tests.effort import only_full
from tests.engine.runs import continued, losses, pinisi

CONFIG = """
[run]
folder = "{folder}/unused"
[model]
source = "{folder}/model"
dtype = "float64"
[data]
shards = "{folder}/shards"
sequence = 24
[pipeline]
ranks = 2
microbatches = 4
[optimizer]
learning_rate = 1e-2
betas = [0.9, 0.999]
schedule = "constant"
[checkpoint]
every = 1
keep = 9
[[phases]]
steps = 3
train = "new_layers"
[[phases]]
steps = 2
"""
NEW = (2, 5, 8)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("expanded")
    old = tiny_model(folder / "old", "qwen3", "qwen", tied=False, num_hidden_layers=6, max_window_layers=3)
    expand_model(old, folder / "model", ExpandOptions(9), report=lambda line: None)
    write_corpus(folder / "text", {language: drawn_texts(language, 60) for language in ("km", "id")})
    tokenize(folder / "text", folder / "model", folder / "shards", report=lambda _: None)
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    return folder


def trained(project: Path, name: str, *overrides: str) -> Path:
    run = project / name
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *overrides)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def whole(project) -> Path:
    return trained(project, "whole")


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    reader = Reader(run / "checkpoints" / f"step-{step:08d}")
    return {name: reader.get(name) for name in reader.names()}


def test_exactly_the_new_layers_move_then_all(project, whole) -> None:
    spec = read_spec(project / "model")
    source = stored_weights(spec)
    assert tuple(new_layers(spec)) == NEW
    after, end = weights(whole, 3), weights(whole, 5)
    ours = {name for name in after if name.startswith(tuple(f"model.layers.{layer}." for layer in NEW))}
    assert len(ours) == 3 * 11 and len(after) == 9 * 11 + 3
    for name in after:
        assert torch.equal(after[name], source.get(name).double()) is (name not in ours), name
        assert not torch.equal(end[name], after[name]), name


def test_the_same_on_one_rank_and_with_the_optimizer_shared_out(project, whole) -> None:
    expected = weights(whole, 5)
    one = trained(project, "one", "pipeline.ranks=1", "pipeline.barriers=0")
    shared = trained(
        project, "shared", "pipeline.ranks=1", "pipeline.data_parallel=2", "pipeline.microbatches=2",
        "optimizer.sharded=true",
    )  # fmt: skip
    for run in (one, shared):
        assert losses(run) == pytest.approx(losses(whole), rel=1e-9) and len(losses(run)) == 5
        for name, tensor in weights(run, 5).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("step", [pytest.param(2, marks=only_full), 3])  # in the phase, at its end
def test_a_run_goes_on_to_the_bit(project, whole, step) -> None:
    run = project / f"on-{step}"
    continued(run, whole, step=step)
    assert trained(project, run.name) == run
    assert losses(run) == {at: loss for at, loss in losses(whole).items() if at > step}
    expected = weights(whole, 5)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run, 5).items())


def test_an_export_knows_its_new_layers_and_transformers_loads_it(project, whole) -> None:
    out = project / "exported"
    assert pinisi("export", str(whole), "--out", str(out), "--dtype", "float32").returncode == 0
    assert tuple(new_layers(read_spec(out))) == NEW
    model = AutoModelForCausalLM.from_pretrained(out)
    expected = weights(whole, 5)
    assert len(model.model.layers) == 9
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name].float())


def test_what_is_missing_is_said(project, tmp_path) -> None:
    shutil.copytree(project / "model", tmp_path / "model")
    (tmp_path / "model" / "new_layers.json").unlink()
    with pytest.raises(ModelError, match="pinisi expand"):
        check(load(project / "config.toml", [f"model.source={tmp_path / 'model'}"]))
    with pytest.raises(ConfigError, match='train is string "new_blocks"'):
        load(project / "config.toml", ['phases=[{steps = 2, train = "new_blocks"}]'])
