"""A phase that trains new rows alone, on one rank and with the vocabulary split over two, stopped and gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pinisi.base.errors import ConfigError, ModelError
from pinisi.config import load
from pinisi.cookbook.vocabulary import ExtendOptions, extend_model
from pinisi.data import tokenize
from pinisi.launch.check import check
from pinisi.models import new_rows, read_spec
from pinisi.models.surgery.vocabulary import stored_weights
from pinisi.train.checkpoint import Reader
from tests.cookbook.made_models import drawn_texts, reading, tiny_model
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
barriers = 2
[optimizer]
learning_rate = 2e-2
betas = [0.9, 0.999]
schedule = "constant"
[checkpoint]
every = 1
keep = 9
[[phases]]
steps = 3
train = "new_rows"
[[phases]]
steps = 3
"""
ENDS = ("model.embed_tokens.weight", "lm_head.weight")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """An untied model with more new tokens than its free rows take."""
    folder = tmp_path_factory.mktemp("extended")
    old = tiny_model(folder / "old", "qwen3", "qwen", tied=False, rows=503)
    texts = {language: drawn_texts(language, 60) for language in ("km", "my", "id")}
    extension = extend_model(
        old, reading(texts), folder / "model", ExtendOptions(400), report=lambda line: None
    )
    rows = read_spec(folder / "model").vocabulary
    assert new_rows(read_spec(folder / "model")) == sorted(extension.pieces)
    assert min(extension.pieces) < 503 < max(extension.pieces) < rows
    write_corpus(folder / "text", texts)
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


def test_new_rows_alone_move_then_all(project, whole) -> None:
    source = stored_weights(read_spec(project / "model"))
    new = new_rows(read_spec(project / "model"))
    after, end = weights(whole, 3), weights(whole, 6)
    for name in after:
        old = source.get(name).double()
        assert not torch.equal(end[name], after[name])
        if name not in ENDS:
            assert torch.equal(after[name], old)
            continue
        stays = [row for row in range(len(old)) if row not in set(new)]
        assert torch.equal(after[name][stays], old[stays])
        assert (after[name][new] != old[new]).any(1).float().mean() > 0.9


@only_full
def test_the_same_on_one_rank_and_with_the_optimizer_shared_out(project, whole) -> None:
    expected = weights(whole, 6)
    one = trained(project, "one", "pipeline.ranks=1", "pipeline.barriers=0")
    shared = trained(
        project, "shared", "pipeline.ranks=1", "pipeline.data_parallel=2", "pipeline.microbatches=2",
        "optimizer.sharded=true",
    )  # fmt: skip
    for run in (one, shared):
        found = losses(run)
        assert found == pytest.approx(losses(whole), rel=1e-9) and len(found) == 6
        for name, tensor in weights(run, 6).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "step", [pytest.param(2, marks=only_full), 3, pytest.param(5, marks=only_full)]
)  # in the first phase, at its end, in the second
def test_a_run_goes_on_to_the_bit(project, whole, step) -> None:
    run = project / f"on-{step}"
    continued(run, whole, step=step)
    assert trained(project, run.name) == run
    assert losses(run) == {at: loss for at, loss in losses(whole).items() if at > step}
    expected = weights(whole, 6)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run, 6).items())


def test_what_is_missing_is_said(project, tmp_path) -> None:
    config = project / "config.toml"
    with pytest.raises(ConfigError, match='train is string "some"'):
        load(config, ['phases=[{steps = 2, train = "some"}]'])
    shutil.copytree(project / "model", tmp_path / "model")
    source = f"model.source={tmp_path / 'model'}"
    (tmp_path / "model" / "new_rows.json").write_text('{"rows": [99999]}')
    with pytest.raises(ModelError, match=r"new_rows.json needs a list of rows from 0 to"):
        check(load(config, [source]))
    (tmp_path / "model" / "new_rows.json").unlink()
    with pytest.raises(ModelError, match="pinisi vocabulary extend"):
        check(load(config, [source]))
