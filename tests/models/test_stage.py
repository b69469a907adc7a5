import itertools

import pytest
import torch
import torch.nn.functional as F

from pinisi.base.errors import ModelError
from pinisi.models import (
    RandomWeights,
    build_stage,
    make_context,
    parameter_names,
    parameter_shapes,
    read_spec,
    reference_inputs,
)

from .tiny import (
    NAMES,
    VOCABULARY,
    DictWeights,
    packed,
    perturbed,
    run,
    stages,
    tiny_config,
    tiny_spec,
    whole_model,
)

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}


def gradients(logits, parameters):
    generator = torch.Generator().manual_seed(8)
    targets = torch.randint(VOCABULARY, logits.shape[:-1], generator=generator)
    targets[:, ::4] = -100
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    found = {}
    for name, parameter in parameters:
        found[name] = found.get(name, 0) + parameter.grad
    return found


@pytest.mark.parametrize("cuts", [[], [1, 3]])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_stages_in_a_row_are_the_whole_model(name, dtype, tied, cuts):
    spec = tiny_spec(name, tie_word_embeddings=tied)
    tensors = perturbed(RandomWeights(spec, 3, dtype))
    reference = whole_model(spec, tensors, dtype)
    parts = stages(spec, DictWeights(tensors), cuts, dtype)
    tokens, documents, positions = packed()
    tokens[0, 3] = 0  # a padding token, where the architecture has one
    expected = reference(**reference_inputs(spec, tokens, documents, positions, dtype)).logits
    found = run(parts, tokens, documents, positions, dtype)
    assert (found - expected).norm() <= LIMIT[dtype] * expected.norm()
    ours = gradients(found, itertools.chain.from_iterable(part.named_parameters() for part in parts))
    theirs = gradients(expected, reference.named_parameters())
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert (ours[key] - gradient).norm() <= LIMIT[dtype] * gradient.norm(), key


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_bitwise_the_whole_model(name):
    spec = tiny_spec(name)
    tensors = perturbed(RandomWeights(spec, 3, torch.bfloat16))
    tokens, documents, positions = packed(2, 14)
    reference = whole_model(spec, tensors, torch.bfloat16)
    parts = stages(spec, DictWeights(tensors), [2], torch.bfloat16)
    with torch.no_grad():
        found = run(parts, tokens, documents, positions, torch.bfloat16)
        expected = reference(**reference_inputs(spec, tokens, documents, positions, torch.bfloat16)).logits
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_first_stage_without_embedding_takes_scaled_rows(name):
    spec = tiny_spec(name)
    weights = RandomWeights(spec, 3)
    tokens, documents, positions = packed()
    context = make_context(spec, documents, positions)
    whole = build_stage(spec, range(2), weights, embedding=True)
    split = build_stage(spec, range(2), weights)
    rows = weights.get("model.embed_tokens.weight")[tokens] * spec.embedding_scale(torch.float32)
    assert torch.equal(whole(tokens, context), split(rows, context))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gemma2"])  # its soft-cap needs eager
def test_eager_and_sdpa_agree(name):
    logits = []
    for attention in ("sdpa", "eager"):
        spec = read_spec(tiny_config(name), attention=attention)
        parts = stages(spec, RandomWeights(spec, 3), [], torch.float32)
        logits.append(run(parts, *packed(), torch.float32))
    assert not torch.equal(*logits)
    assert (logits[0] - logits[1]).norm() <= 1e-5 * logits[0].norm()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_transformers(name, tied):
    spec = tiny_spec(name, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = spec.architecture.part("ForCausalLM")(spec.config)
    model.tie_weights()
    expected = {key: parameter.shape for key, parameter in model.named_parameters()}
    assert parameter_shapes(spec) == expected
    pieces = [
        list(parameter_names(spec, range(0, 1), embedding=True)),
        list(parameter_names(spec, range(1, 4))),
    ]
    assert not set(pieces[0]) & set(pieces[1])
    assert set(pieces[0]) | set(pieces[1]) | {"lm_head.weight"} == set(expected) | {"lm_head.weight"}


def test_a_stage_asks_for_its_own_parameters_only():
    spec = tiny_spec("qwen2")

    class Recorder(RandomWeights):
        asked: list[str] = []  # noqa: RUF012

        def get(self, name, rows=None):
            self.asked.append(name)
            return super().get(name, rows)

    stage = build_stage(spec, range(2, 4), Recorder(spec, 0))
    assert sorted(Recorder.asked) == sorted(name for name, _ in stage.named_parameters())
    assert {name.split(".")[2] for name in Recorder.asked if "layers" in name} == {"2", "3"}
    assert "model.norm.weight" in Recorder.asked
    assert [layer.module.self_attn.layer_idx for layer in stage.layers] == [2, 3]
    assert not any(parameter.is_meta for parameter in stage.parameters())


def test_the_final_norm_is_where_the_layers_end_or_where_it_is_asked_for():
    spec = tiny_spec("llama")
    assert "model.norm.weight" not in parameter_shapes(spec, range(0, 3))
    assert "model.norm.weight" in parameter_shapes(spec, range(3, 4))
    assert list(parameter_shapes(spec, range(4, 4), norm=True, head=True)) == [
        "model.norm.weight",
        "lm_head.weight",
    ]
    assert "model.norm.weight" not in parameter_shapes(spec, range(3, 4), norm=False)


def test_layers_can_be_wrapped():
    spec = tiny_spec("llama")
    stage = build_stage(spec, range(4), RandomWeights(spec, 3))
    _, documents, positions = packed()
    context = make_context(spec, documents, positions)
    hidden = torch.randn(3, 19, 36, requires_grad=True)
    stage(hidden, context).square().sum().backward()
    expected, hidden.grad = hidden.grad, None
    seen = []

    def checkpointed(layer):
        def call(x, context):
            seen.append(layer.index)
            return torch.utils.checkpoint.checkpoint(layer, x, context, use_reentrant=False)

        return call

    stage.layers = [checkpointed(layer) for layer in stage.layers]
    stage(hidden, context).square().sum().backward()
    assert seen == [0, 1, 2, 3]
    assert torch.equal(hidden.grad, expected)


@pytest.mark.parametrize("layers", [range(3, 5), range(-1, 2), range(0, 4, 2), range(3, 1)])
def test_layers_that_the_model_has_not_are_named(layers):
    spec = tiny_spec("llama")
    with pytest.raises(ModelError, match="not consecutive layers of this model, which has 4"):
        build_stage(spec, layers, RandomWeights(spec, 0))


def test_a_parameter_of_the_wrong_shape_is_named():
    spec = tiny_spec("llama")
    tensors = perturbed(RandomWeights(spec, 0))
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 4)
    with pytest.raises(
        ModelError, match=r"layers\.1\.mlp\.up_proj\.weight has shape \[3, 4\].*needs \[52, 36\]"
    ):
        build_stage(spec, range(1, 2), DictWeights(tensors))
