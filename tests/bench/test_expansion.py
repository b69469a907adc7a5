"""What `pinisi bench expansion` looks at, against transformers' own model, and when it says that a demand isn't met."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from pinisi.bench import expansion as bench
from pinisi.bench import expansion_runs as runs
from pinisi.bench.expansion_runs import WatchedGrowth, looked_at, run_config, same_logits, small_config
from pinisi.cookbook.expand import ExpandOptions, expand_model
from pinisi.data import tokenize
from pinisi.models import ARCHITECTURES, read_spec, reference_inputs
from pinisi.train.export import export
from tests.data.conftest import TEXTS, write_corpus, write_tokenizer
from tests.effort import only_full

GOOD = {
    "architecture": "llama",
    "seed": 0,
    "same_logits": True,
    "same_log_probs": True,
    "gradients": [0.5, 2.0],
    "changes": [0.1, 1e-9],
    "looks": bench.FIRST,
    "most_above": 0.05,
    "plain_above": 0.051,
}


def test_what_holds_holds_and_each_fault_is_named() -> None:
    assert bench.faults_of([GOOD]) == []
    for change, said in (
        ({"same_logits": False}, "logits differ"),
        ({"same_log_probs": False}, "logits differ"),
        ({"gradients": [0.5, 2.01]}, "gradients are"),
        ({"gradients": [0.0, 1.0]}, "gradients are"),
        ({"changes": [0.1, 0.0]}, "changes nothing"),
        ({"changes": [0.1]}, "changes nothing"),
        ({"most_above": 0.051}, "the loss rises"),
        ({"most_above": float("nan")}, "the loss rises"),
        ({"looks": bench.FIRST - 1}, "the loss rises"),
        ({"plain_above": 0.05}, "doesn't jump"),
    ):
        (fault,) = bench.faults_of([GOOD, GOOD | change])
        assert said in fault and fault.startswith("[C] llama, seed 0:"), change


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_have_two_layers_of_both_kinds_where_there_are_two(name) -> None:
    spec = read_spec(small_config(name, 511))
    assert spec.layers == 2 and spec.vocabulary == 512
    assert len(set(spec.attention_types)) == (2 if spec.architecture.windows == "by layer" else 1)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A gemma2 of two layers, trained for two steps on two ranks, and expanded to three."""
    folder = tmp_path_factory.mktemp("growth")
    write_corpus(folder / "text", {name: 6 * TEXTS[name] for name in bench.LANGUAGES})
    tokenizer = write_tokenizer(folder / "tokenizer")
    tokenize(folder / "text", tokenizer, folder / "shards", report=lambda line: None)
    (folder / "shards-held-out").symlink_to(folder / "shards")
    model = {"config": small_config("gemma2", 400), "tokenizer": str(tokenizer)}
    looked_at(run_config(folder / "base", folder / "shards", model, seed=3, steps=2, first=True))
    export(folder / "base", folder / "model", report=lambda line: None)
    expand_model(folder / "model", folder / "new", ExpandOptions(3), report=lambda line: None)
    return folder


def losses_of(model, spec, batch) -> torch.Tensor:
    total = sum(each.target_count for each in batch)
    loss = torch.zeros((), dtype=torch.float64)
    for each in batch:
        given = reference_inputs(spec, each.tokens, each.documents, each.positions, torch.float64)
        logits = model(**given).logits
        loss = loss + F.cross_entropy(logits.flatten(0, 1), each.targets.flatten(), reduction="sum") / total
    return loss


@only_full
def test_looks_are_what_transformers_says(grown) -> None:
    config = run_config(
        grown / "run", grown / "shards", {"source": str(grown / "new")}, seed=3, steps=2, first=False, every=1
    )
    looks = looked_at(config)
    assert [look["step"] for look in looks] == [0, 1, 2] and looked_at(config) == looks
    base = run_config(grown / "base", grown / "shards", {"source": "unused"}, seed=3, steps=2, first=True)
    assert np.array_equal(runs.log_probs_at(base, 2), runs.log_probs_at(config, 0))
    assert same_logits(grown / "model", grown / "new", 0)
    spec, batch = read_spec(grown / "new"), WatchedGrowth(config)._text()
    model = AutoModelForCausalLM.from_pretrained(
        grown / "new", dtype=torch.float64, attn_implementation="eager"
    )
    loss = losses_of(model, spec, batch)
    loss.backward()
    assert looks[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    norms = [
        torch.stack([p.grad.square().sum() for p in layer.parameters()]).sum().sqrt().item()
        for layer in model.model.layers
    ]
    assert looks[0]["gradients"] == pytest.approx(norms, rel=1e-4) and 0 < norms[2] < max(norms)
    layers = model.model.layers
    source, copy_ = layers[1].state_dict(), layers[2].state_dict()
    for part in ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight"):
        copy_[part].copy_(source[part])
    assert looks[0]["plain"] == pytest.approx(losses_of(model, spec, batch).item(), rel=1e-5)
    assert looks[0]["plain"] != pytest.approx(looks[0]["loss"], rel=1e-5)
    assert set(looks[-1]["changes"]) == {"2"} and looks[-1]["changes"]["2"] > 0
    assert runs.bits_per_byte(looks[-1]["evaluation"]) == pytest.approx(
        np.mean([e["loss"] * e["tokens"] / e["bytes"] / np.log(2) for e in looks[-1]["evaluation"].values()])
    )


@only_full
def test_a_layer_that_adds_nothing_changes_nothing(grown, monkeypatch) -> None:
    """Before the first step a new layer is silent, so that silencing it is no change."""
    chosen = copy.deepcopy(runs.CHOSEN) | {"rate": 0.0}
    monkeypatch.setattr(runs, "CHOSEN", chosen)
    config = run_config(
        grown / "still", grown / "shards", {"source": str(grown / "new")}, seed=3, steps=1, first=False
    )
    assert looked_at(config)[-1]["changes"] == {"2": 0.0}
