"""Extra heads: their place in a stage, their start, and their file beside a model."""

from __future__ import annotations

import pytest
import torch

from pinisi.base.errors import ModelError
from pinisi.models import (
    FolderWeights,
    RandomWeights,
    build_stage,
    make_context,
    parameter_names,
    with_extra_heads,
    write_folder,
)
from tests.models.tiny import NAMES, DictWeights, packed, perturbed, tiny_spec


@pytest.mark.parametrize("name", NAMES)
def test_a_head_with_the_last_layers_weights_sees_what_the_own_head_sees(name: str) -> None:
    """And one with other weights does not; without extra=True nothing of them runs."""
    spec = with_extra_heads(tiny_spec(name), 2)
    tensors = perturbed(RandomWeights(spec, 3, torch.float64))
    last = {n: t for n, t in tensors.items() if n.startswith("model.layers.3.")}
    for k in range(2):
        tensors |= {n.replace("model.layers.3", f"extra_heads.{k}"): t + 0.1 * k for n, t in last.items()}
    stage = build_stage(spec, range(2, 4), DictWeights(tensors), dtype=torch.float64, extra_heads=True)
    hidden = torch.randn(3, 19, spec.hidden, dtype=torch.float64)
    context = make_context(spec, *packed()[1:], dtype=torch.float64)
    alone, found = stage(hidden, context), stage(hidden, context, extra=True)
    assert found.shape == (3, 3, 19, spec.hidden)
    assert torch.equal(found[0], alone) and torch.equal(found[1], alone)
    assert (found[2] - alone).norm() > 1e-2 * alone.norm()


def test_only_the_stage_that_is_asked_has_them() -> None:
    spec = with_extra_heads(tiny_spec("llama"), 3)
    weights = RandomWeights(spec, 0)
    plain = build_stage(spec, range(3, 4), weights)
    headed = dict(build_stage(spec, range(3, 4), weights, extra_heads=True).named_parameters())
    more = sorted(set(headed) - {name for name, _ in plain.named_parameters()})
    layer = [n.removeprefix("model.layers.3.") for n in plain.state_dict() if "layers" in n]
    assert more == sorted(f"extra_heads.{k}.{n}" for k in range(3) for n in layer)
    assert not any("extra" in n for n in parameter_names(spec))  # the model is the plain one
    name = "self_attn.q_proj.weight"
    drawn = [headed[f"extra_heads.{k}.{name}"] for k in range(3)] + [headed[f"model.layers.3.{name}"]]
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    with pytest.raises(ModelError, match="beside the model's last layer, 3; range\\(1, 3\\) lacks it"):
        build_stage(spec, range(1, 3), weights, extra_heads=True)
    for wrong in ("extra_heads.3." + name, "extra_heads.x." + name, "extra_heads.0.nothing"):
        with pytest.raises(ModelError, match=r"no.* parameter"):
            weights.get(wrong)
    with pytest.raises(ModelError, match="at least 0"):
        with_extra_heads(spec, -1)


@pytest.mark.parametrize("size", [4 * 2**30, 50_000])  # one file, and several with an index
def test_a_folder_gives_back_its_heads_and_copies_for_those_it_lacks(tmp_path, size: int) -> None:
    spec = tiny_spec("qwen3", tie_word_embeddings=True)
    start = RandomWeights(with_extra_heads(spec, 1), 5)
    tensors = {name: start.get(name) for name in start.names()}
    layer = [n for n in tensors if n.startswith("model.layers.3.")]
    extra = {n: start.get(n) for n in (name.replace("model.layers.3", "extra_heads.0") for name in layer)}
    folder = tmp_path / "model"
    write_folder(spec, tensors.items(), folder, extra_heads=extra.items(), max_shard_bytes=size)
    found = FolderWeights(with_extra_heads(spec, 2), folder)
    assert sorted(found.names()) == sorted(tensors)
    for name, tensor in extra.items():
        assert torch.equal(found.get(name), tensor)
    for name in layer:
        copy = found.get(name.replace("model.layers.3", "extra_heads.1"))
        assert torch.equal(copy, tensors[name])
        copy.add_(1.0)  # in memory of its own
        assert torch.equal(found.get(name), tensors[name])
    write_folder(spec, tensors.items(), folder)
    assert not (folder / "extra_heads.safetensors").exists()
