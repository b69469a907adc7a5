"""Layers that are added to a model: where they stand, that nothing changes at first, and that they learn like the others."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ModelError
from pinisi.models import RandomWeights, parameter_names, read_spec, write_folder
from pinisi.models.surgery import expand
from pinisi.models.surgery.expand import Expansion, check_same_ends, expanded_weights, expansion, with_layers
from pinisi.models.surgery.vocabulary import stored_weights
from tests.effort import FULL

from .tiny import NAMES, VOCABULARY, perturbed, tiny_config, tiny_spec

WIDER = {  # every bias that the architecture can have
    "llama": {"attention_bias": True, "mlp_bias": True},
    "qwen3": {"attention_bias": True},
    "gemma2": {"attention_bias": True},
    "olmo2": {"attention_bias": True},
}
MOST_GRADIENT = 2.0  # of a new layer's, in those of the old ones


def model_folder(path, name: str, dtype=torch.float32, **changes):
    spec = tiny_spec(name, **WIDER.get(name, {}) | changes)
    tensors = perturbed(RandomWeights(spec, 3))
    return write_folder(spec, ((key, tensor.to(dtype)) for key, tensor in tensors.items()), path)


def expanded_folder(old, out, layers: int, *, tied: bool | None = None):
    spec = read_spec(old)
    found = expansion(spec.layers, layers)
    new = with_layers(spec, found, tied=tied)
    return write_folder(new, expanded_weights(spec, stored_weights(spec), new, found), out)


def logits(folder, tokens=None, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    if tokens is None:
        tokens = torch.randint(VOCABULARY, (2, 23), generator=torch.Generator().manual_seed(5))
    return model, model(input_ids=tokens).logits, tokens


# -- where copies stand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "wanted", "copied", "new"),
    [
        (6, 9, [1, 3, 5], [2, 5, 8]),  # LlamaFactory#7558
        (4, 6, [1, 3], [2, 5]),
        (28, 32, [6, 13, 20, 27], [7, 15, 23, 31]),  # sailor2-8b
        (24, 48, list(range(24)), list(range(1, 48, 2))),  # sailor2-1b
        (48, 64, list(range(2, 48, 3)), list(range(3, 64, 4))),  # sailor2-20b
        (4, 10, [0, 1, 1, 2, 3, 3], [1, 3, 4, 6, 8, 9]),
        (1, 3, [0, 0], [1, 2]),
    ],
)
def test_known_places(layers, wanted, copied, new) -> None:
    found = expansion(layers, wanted)
    assert found.copied == copied and found.new == new


@given(st.integers(1, 60), st.integers(1, 90))
@settings(max_examples=200, deadline=None)
def test_copies_are_spread_evenly_behind_their_sources(layers: int, more: int) -> None:
    found = expansion(layers, layers + more)
    assert len(found.sources) == layers + more and len(found.new) == more
    assert [s for i, s in enumerate(found.sources) if i not in set(found.new)] == list(range(layers))
    assert list(found.sources) == sorted(found.sources) and found.sources[-2:] == (layers - 1,) * 2
    times = Counter(found.copied)
    assert max(times.values()) - min(times.get(i, 0) for i in range(layers)) <= 1
    for first in range(layers):  # any stretch of layers has its share of the copies, up to one at each end
        share = sum(times[i] for i in range(first, layers))
        assert abs(share - more * (layers - first) / layers) <= 1


def test_too_few_layers_are_refused() -> None:
    for wanted in (4, 3, 0, -1):
        with pytest.raises(
            ModelError, match=f"{wanted} layers are asked for, and the model has 4; ask for more than 4"
        ):
            expansion(4, wanted)


# -- the function ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_same_bits(name, dtype, tmp_path, monkeypatch) -> None:
    old = model_folder(tmp_path / "old", name, dtype, tie_word_embeddings=name.startswith("gemma"))
    _, before, tokens = logits(old, dtype=dtype)
    for layers in (5, 6, 11) if FULL else (11,):
        new = expanded_folder(old, tmp_path / f"new-{layers}", layers)
        model, after, _ = logits(new, tokens, dtype)
        assert torch.equal(before, after) and model.config.num_hidden_layers == layers
        assert read_spec(new).layers == layers
    monkeypatch.setattr(expand, "silencing", lambda architecture, part: None)
    plain = expanded_folder(old, tmp_path / "plain", 6)
    assert not torch.allclose(before, logits(plain, tokens, dtype)[1], rtol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_new_layers_learn_and_no_faster_than_twice_the_old_ones(name, tmp_path) -> None:
    old = model_folder(tmp_path / "old", name)
    found = expansion(4, 6)
    model, predicted, tokens = logits(expanded_folder(old, tmp_path / "new", 6))
    F.cross_entropy(predicted[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    norms = [
        torch.stack([p.grad.square().sum() for p in layer.parameters()]).sum().sqrt().item()
        for layer in model.model.layers
    ]
    kept = [norms[i] for i in range(6) if i not in found.new]
    for place in found.new:
        assert 0 < norms[place] <= MOST_GRADIENT * max(kept)


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma2", "gemma3_text"])
def test_a_copy_attends_as_its_source_does(name, tmp_path) -> None:
    old = model_folder(tmp_path / "old", name)
    types = read_spec(old).attention_types
    assert len(set(types)) == 2
    model, *_ = logits(expanded_folder(old, tmp_path / "new", 7))
    wanted = [types[source] for source in expansion(4, 7).sources]
    assert model.config.layer_types == wanted
    for layer, kind in zip(model.model.layers, wanted, strict=True):
        assert (layer.self_attn.sliding_window is not None) is (kind == "sliding_attention")


def test_types_that_follow_from_other_keys_are_written_out_where_they_no_longer_do(tmp_path) -> None:
    config = tiny_config("gemma3_text") | {"sliding_window_pattern": 2}
    del config["layer_types"]
    new = with_layers(read_spec(config), expansion(4, 6))
    assert new.attention_types == tuple(
        f"{kind}_attention" for kind in ("sliding", "full", "full", "sliding", "full", "full")
    )
    config = tiny_config("qwen2") | {"max_window_layers": 1}
    new = with_layers(read_spec(config), expansion(4, 8))
    assert new.config.max_window_layers == 2 and new.attention_types.count("full_attention") == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_head_is_untied_and_tied_again(name, tmp_path) -> None:
    old = model_folder(tmp_path / "old", name, tie_word_embeddings=True)
    _, before, tokens = logits(old)
    untied = expanded_folder(old, tmp_path / "untied", 6, tied=False)
    model, after, _ = logits(untied, tokens)
    assert torch.equal(before, after) and model.config.tie_word_embeddings is False
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    spec = read_spec(untied)
    check_same_ends(spec, stored_weights(spec))
    tied = expanded_folder(untied, tmp_path / "tied", 7, tied=True)
    model, after, _ = logits(tied, tokens)
    assert torch.equal(before, after) and model.config.tie_word_embeddings is True
    assert "lm_head.weight" not in parameter_names(read_spec(tied))


def test_ends_that_differ_are_not_tied(tmp_path) -> None:
    spec = read_spec(model_folder(tmp_path / "old", "llama"))
    with pytest.raises(ModelError, match=r"embed_tokens.weight and lm_head.weight differ, first in row 0"):
        check_same_ends(spec, stored_weights(spec))


def test_new_places_are_those_behind_their_like() -> None:
    assert Expansion((0, 0, 0, 1, 2, 2)).new == [1, 2, 5]
