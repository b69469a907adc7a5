"""Averages of weights: the moving one and that of checkpoints, against sums made here of every step's checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import CheckpointError
from pinisi.cli import main
from pinisi.train.checkpoint import AVERAGE, Reader
from pinisi.train.export import export
from tests.effort import only_full
from tests.engine.runs import losses, pinisi

STEPS, DECAY = 5, 0.3
MORE = (
    *(f"run.steps={STEPS}", "checkpoint.every=1", "checkpoint.keep=99", "optimizer.schedule=constant"),
    *(f"optimizer.average={DECAY}", "report.live=0", "data.evaluation=none"),
)


def readers(run: Path) -> list[Reader]:
    return [Reader(run / "checkpoints" / f"step-{n:08d}") for n in range(STEPS + 1)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("tied", marks=only_full),
        pytest.param("untied, 0 barriers", marks=only_full),
        "bfloat16, sharded",
    ],
)
def averaged(request, project, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("averaged") / "run"
    more = {
        "tied": [],
        "untied, 0 barriers": ["model.config.tie_word_embeddings=false", "pipeline.barriers=0"],
        "bfloat16, sharded": ["model.dtype=bfloat16", "optimizer.sharded=true", "pipeline.data_parallel=2"],
    }[request.param]
    if "sharded" in request.param:
        more.append("pipeline.ranks=1")
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *MORE, *more)
    assert done.returncode == 0, done.stderr
    return run


def moving(run: Path, name: str) -> torch.Tensor:
    """By hand, in fp64: decays of (1 + n) / (10 + n) at most, from the first weights on."""
    found = readers(run)
    average = found[0].get(name).double()
    for update, reader in enumerate(found[1:], 1):
        decay = min(DECAY, (1 + update) / (10 + update))
        average = decay * average + (1 - decay) * reader.get(name).double()
    return average


def test_the_moving_average_is_that_of_the_checkpoints_weights(averaged) -> None:
    last = readers(averaged)[-1]
    for name in last.names():
        got, weight = last.get(name, kind=AVERAGE).double(), last.get(name).double()
        assert torch.allclose(got, moving(averaged, name), rtol=1e-6, atol=1e-7)
        assert not torch.allclose(got, weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("average", [3, "ema"])
def test_an_export_of_an_average_is_loaded_by_transformers(averaged, tmp_path, average) -> None:
    out = export(averaged, tmp_path / "out", average=average, report=lambda _: None)
    model = AutoModelForCausalLM.from_pretrained(out)
    state, last = model.state_dict(), readers(averaged)[-1]
    tolerance = 1e-2 if next(model.parameters()).dtype is torch.bfloat16 else 1e-6
    for name in last.names():
        wanted = (
            moving(averaged, name)
            if average == "ema"
            else sum(reader.get(name).double() for reader in readers(averaged)[-3:]) / 3
        )
        assert torch.allclose(state[name].double(), wanted, rtol=tolerance, atol=tolerance / 10)
    config = json.loads((out / "config.json").read_text())
    if config["tie_word_embeddings"]:
        assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_a_run_that_goes_on_has_the_same_average(project, averaged, tmp_path) -> None:
    config = (averaged / "config.toml").read_text()
    again = tmp_path / "again"
    (again / "checkpoints").mkdir(parents=True)
    (again / "checkpoints" / "step-00000003").symlink_to(averaged / "checkpoints" / "step-00000003")
    file = tmp_path / "config.toml"
    file.write_text(config)
    done = pinisi("train", str(file), f"run.folder={again}")
    assert done.returncode == 0, done.stderr
    assert {4, 5} <= losses(again).keys()
    one, other = (Reader(run / "checkpoints" / f"step-{STEPS:08d}") for run in (averaged, again))
    for name in one.names():
        assert torch.equal(one.get(name, kind=AVERAGE), other.get(name, kind=AVERAGE))


def test_what_cannot_be_averaged_is_said(whole, tmp_path, capsys) -> None:
    with pytest.raises(CheckpointError, match=r"holds no moving average: set optimizer\.average"):
        export(whole, tmp_path / "out", average="ema")
    with pytest.raises(CheckpointError, match="has 4 checkpoints up to step 6, and 9 were to be averaged"):
        export(whole, tmp_path / "out", average=9)
    with pytest.raises(SystemExit):
        main(("export", str(whole), "--out", str(tmp_path / "out"), "--average", "none"))
    assert "'none' is neither a number of checkpoints nor ema" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
