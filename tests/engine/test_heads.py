"""Targets and weights of several heads, and a run with extra heads through the command line: trained, resumed, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pinisi.base.errors import CheckpointError, ConfigError
from pinisi.base.ids import IGNORE
from pinisi.config import load
from pinisi.data.batches import Microbatch
from pinisi.engine.extra_heads import by_head, head_targets, head_weights
from pinisi.launch.check import check
from pinisi.models import build_stage
from pinisi.train import checkpoint
from pinisi.train.building import first_weights, spec_of
from pinisi.train.export import export
from tests.effort import only_full
from tests.engine.runs import continued, losses, pinisi


def batch(tokens: list, targets: list, documents: list) -> Microbatch:
    fields = [torch.tensor(each) for each in (tokens, targets, documents)]
    return Microbatch(*fields, torch.zeros_like(fields[0]), torch.zeros_like(fields[0]))


def test_targets_further_on_stay_inside_their_document() -> None:
    # two documents in the first row; the second's last target lies behind the row's end; a masked prompt in the second row
    given = batch(
        [[11, 12, 13, 21, 22, 23], [31, 32, 33, 34, 35, 36]],
        [[12, 13, IGNORE, 22, 23, 24], [IGNORE, IGNORE, 34, 35, 36, IGNORE]],
        [[0, 0, 0, 1, 1, 1], [2, 2, 2, 2, 2, 2]],
    )
    x = IGNORE
    assert head_targets(given, 1).tolist() == [given.targets.tolist()]
    assert head_targets(given, 4)[1:].tolist() == [
        [[13, x, x, 23, 24, x], [x, 34, 35, 36, x, x]],
        [[x, x, x, 24, x, x], [34, 35, 36, x, x, x]],
        [[x] * 6, [35, 36, x, x, x, x]],
    ]
    assert (head_targets(given, 9)[6:] == x).all()


def test_weights_are_means_and_the_mean_of_means() -> None:
    assert head_weights([10.0, 8.0, 5.0], 0.3) == pytest.approx([0.1, 0.15 / 8, 0.15 / 5])
    assert head_weights([10.0], 0.3) == [0.1]
    assert head_weights([10.0, 0.0], 0.3)[1] == 0.0  # nobody has a target so far on
    assert by_head(torch.tensor([0, 2, 1]), 3, 5).tolist() == [0, 2, 1, 5, 7, 6, 10, 12, 11]


HEADS = ("loss.extra_heads=2", "loss.extra_weight=0.7", "pipeline.rows=balanced")


def train(project: Path, run: Path, *more: str) -> None:
    done = pinisi("train", str(project / "config.toml"), *HEADS, f"run.folder={run}", *more)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def headed(project) -> Path:
    """Six steps of a run with two extra heads."""
    train(project, project / "headed", "data.evaluation=none")
    return project / "headed"


def lines(run: Path) -> dict[int, dict]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in found if "loss" in line}


def test_the_loss_is_the_own_heads_and_the_others_stand_beside(headed, whole) -> None:
    found = lines(headed)
    assert found[1]["loss"] == pytest.approx(losses(whole)[1], rel=1e-6)  # the same start, the same batch
    for line in found.values():
        extra = line["extra_head_losses"]
        assert len(extra) == 2
        assert line["total_loss"] == pytest.approx(line["loss"] + 0.7 * sum(extra) / 2, rel=1e-5)


def test_the_extra_heads_learn(project) -> None:
    """Against the same batches under weights that stay as they are."""
    for name, *more in (("learned",), ("unlearned", "optimizer.learning_rate=0")):
        run = project / f"headed-{name}"
        train(project, run, "data.evaluation=none", "run.steps=12", "checkpoint.every=0", *more)
    after, before = (
        lines(project / f"headed-{name}")[12]["extra_head_losses"] for name in ("learned", "unlearned")
    )
    assert sum(after) < sum(before) - 0.2


@only_full
def test_resumed_at_other_ranks_and_barriers(project, headed) -> None:
    run = project / "headed-again"
    continued(run, headed, step=2)
    train(project, run, "pipeline.ranks=1", "pipeline.barriers=0", "data.evaluation=none")
    found, wanted = lines(run), lines(headed)
    assert sorted(found) == [3, 4, 5, 6]
    for step, line in found.items():
        for key in ("loss", "total_loss", "extra_head_losses"):
            assert line[key] == pytest.approx(wanted[step][key], rel=1e-4), (step, key)


def test_another_number_of_heads_is_refused(project, headed) -> None:
    config = load(project / "config.toml", [f"run.folder={headed}", "loss.extra_heads=1", "run.steps=7"])
    with pytest.raises(CheckpointError, match=r"another extra_heads \(2\) than this run's \(1\)"):
        check(config)


def test_the_last_stage_must_hold_the_last_layer(project) -> None:
    config = load(project / "config.toml", [*HEADS, "pipeline.layers=[4, 0]"])
    with pytest.raises(
        ConfigError, match=r"pipeline.layers is \[4, 0\]: with loss.extra_heads the last stage"
    ):
        check(config)


def test_the_export_is_the_plain_model_with_its_heads_beside(project, headed) -> None:
    out = export(headed, project / "headed-model")
    model, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    reader = checkpoint.Reader(checkpoint.latest(headed / "checkpoints"))
    plain = dict(model.named_parameters())
    extra = load_file(out / "extra_heads.safetensors")
    assert sorted([*plain, *extra]) == sorted(reader.names()) and extra
    for name, tensor in {**plain, **extra}.items():
        assert torch.equal(tensor, reader.get(name)), name
    layer = {name.split("layers.3.")[1] for name in plain if "layers.3." in name}
    assert set(extra) == {f"extra_heads.{k}.{name}" for k in (0, 1) for name in layer}


def test_a_run_starts_from_the_exported_heads(project, headed) -> None:
    """One more head than there are: the third is a copy of the last layer, so it predicts as the model's own does."""
    out, config = export(headed, project / "headed-again-model"), (project / "config.toml").read_text()
    start, end = config.index("[model]"), config.index("[data]")
    path = project / "from-export.toml"
    path.write_text(config[:start] + f'[model]\nsource = "{out}"\n' + config[end:])
    run = load(path, [*HEADS, "loss.extra_heads=3", f"run.folder={project / 'from-export'}"])
    check(run)
    spec = spec_of(run)
    given = first_weights(run, spec, torch.float32)
    stage = build_stage(spec, range(3, 4), given, extra_heads=True)
    before = checkpoint.Reader(checkpoint.latest(headed / "checkpoints"))
    found = dict(stage.named_parameters())
    assert any(name.startswith("extra_heads.2.") for name in found)
    for name, parameter in found.items():
        twin = name.replace("extra_heads.2.", "model.layers.3.")
        assert torch.equal(parameter, before.get(twin)), name
    assert len({parameter.data_ptr() for parameter in found.values()}) == len(found)
