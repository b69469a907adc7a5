import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ModelError
from pinisi.models import RandomWeights, make_context, read_spec

from .tiny import NAMES, DictWeights, packed, perturbed, run, stages, tiny_config, tiny_spec, whole_model


@settings(max_examples=40, deadline=None)
@given(data=st.data(), b=st.integers(1, 3), s=st.integers(1, 13), window=st.integers(1, 14))
def test_masks_say_what_the_words_say(data, b, s, window):
    rows = st.lists(st.integers(0, 2), min_size=s, max_size=s)
    documents = torch.tensor([data.draw(rows) for _ in range(b)])
    positions = torch.arange(s).expand(b, s)
    config = tiny_config("qwen2", sliding_window=window)
    found = {
        how: make_context(read_spec(config, attention=how), documents, positions) for how in ("sdpa", "eager")
    }
    for kind, reach in (("full_attention", s), ("sliding_attention", window)):
        expected = torch.tensor(
            [
                [[q - reach < k <= q and d[q] == d[k] for k in range(s)] for q in range(s)]
                for d in documents.tolist()
            ]
        )
        mask = found["sdpa"].masks[kind]
        if mask is None:  # plain causal
            mask = torch.ones(s, s, dtype=torch.bool).tril().expand(b, 1, s, s)
        assert torch.equal(mask[:, 0], expected)
        additive = found["eager"].masks[kind]
        assert torch.equal(additive[:, 0] == 0, expected)
        assert additive.masked_select(~expected[:, None]).eq(torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("name", NAMES)
def test_stages_agree_with_the_masks_that_transformers_makes_itself(name):
    """Without a mask, transformers finds packed documents by their positions and applies its own windows."""
    spec = tiny_spec(name)
    tensors = perturbed(RandomWeights(spec, 5, torch.float64))
    tokens, documents, positions = packed(2, 23, seed=4)
    reference = whole_model(spec, tensors, torch.float64)
    with torch.no_grad():
        expected = reference(input_ids=tokens, position_ids=positions, use_cache=False).logits
        found = run(
            stages(spec, DictWeights(tensors), [2], torch.float64),
            tokens,
            documents,
            positions,
            torch.float64,
        )
    assert (found - expected).norm() <= 1e-11 * expected.norm()


def test_one_document_needs_no_mask_and_changes_nothing():
    spec = tiny_spec("qwen2", num_hidden_layers=2, layer_types=["full_attention", "sliding_attention"])
    tokens, _, _ = packed(2, 17)
    positions = torch.arange(17).expand(2, 17)
    context = make_context(spec, torch.zeros(2, 17, dtype=torch.long), positions, torch.float64)
    assert context.masks["full_attention"] is None
    assert context.masks["sliding_attention"] is not None
    part = stages(spec, RandomWeights(spec, 1, torch.float64), [], torch.float64)[0]
    with torch.no_grad():
        fast = part(tokens, context)
        causal = torch.ones(17, 17, dtype=torch.bool).tril().expand(2, 1, 17, 17)
        masked = part(
            tokens, type(context)({**context.masks, "full_attention": causal}, context.rotary, positions)
        )
    assert (fast - masked).norm() <= 1e-12 * masked.norm()


def test_rotary_frequencies_stay_in_fp32():
    spec = tiny_spec("llama", hidden_size=96, max_position_embeddings=8192)
    positions = torch.tensor([[0, 1, 4001, 8190]])
    documents = torch.zeros_like(positions)
    half = make_context(spec, documents, positions, torch.bfloat16).rotary["full_attention"]
    exact = make_context(spec, documents, positions, torch.float64).rotary["full_attention"]
    inverse = 1.0 / 10000.0 ** (torch.arange(0, 16, 2).double() / 16)
    angles = positions[..., None].double() * inverse
    for found, low, function in zip(exact, half, (torch.cos, torch.sin), strict=True):
        assert torch.allclose(found, function(torch.cat((angles, angles), -1)), atol=2e-3)
        assert low.dtype == torch.bfloat16
        assert torch.equal(low, found.to(torch.bfloat16))


def test_gemma3_has_rotary_tables_of_its_own_for_each_type():
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    rotary = make_context(tiny_spec("gemma3_text", rope_parameters=rope), *packed()[1:]).rotary
    assert not torch.equal(rotary["full_attention"][0], rotary["sliding_attention"][0])


def test_frequencies_that_follow_the_length_depend_on_their_own_microbatch_only():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    spec = tiny_spec("llama", rope_parameters=rope, max_position_embeddings=16)
    short, long = (torch.arange(n)[None] for n in (20, 60))
    zeros = torch.zeros(1, 60, dtype=torch.long)
    first = make_context(spec, zeros[:, :20], short).rotary["full_attention"][0]
    make_context(spec, zeros, long)
    again = make_context(spec, zeros[:, :20], short).rotary["full_attention"][0]
    assert torch.equal(first, again)


def test_shapes_that_differ_are_named():
    with pytest.raises(ModelError, match=r"documents \(2, 5\) and positions \(2, 4\)"):
        make_context(tiny_spec("llama"), torch.zeros(2, 5).long(), torch.zeros(2, 4).long())
