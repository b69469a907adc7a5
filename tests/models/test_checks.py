"""Settings that no model can be built of, and keys that mean nothing."""

import json
import random

import pytest
import torch

from pinisi.base.errors import ConfigError, ModelError
from pinisi.costs.presets import preset, preset_names
from pinisi.models import make_context, parameter_shapes, read_spec
from pinisi.models.checks import ROPES

from .tiny import NAMES, tiny_config

YARN = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4, "original_max_position_embeddings": 8}
LONG = {**YARN, "rope_type": "longrope", "short_factor": [1.0] * 3, "long_factor": [2.0] * 3}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_built_is_taken_strictly(name):
    for config in (tiny_config(name), tiny_config(name, temperature=0.7, attention_dropout=0.1)):
        assert read_spec(config, strict=True).model_type == name


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_taken_strictly(name):
    read_spec(preset(name), strict=True)


@pytest.mark.parametrize(
    "key, nearest",
    [
        ("hiden_size", "hidden_size"),
        ("num_hiden_layers", "num_hidden_layers"),
        ("num_attention_head", "num_attention_heads"),
        ("vocabsize", "vocab_size"),
        ("tie_word_embedding", "tie_word_embeddings"),
        ("rope_tetha", "rope_theta"),
        ("rms_norm_epsilon", "rms_norm_eps"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest(key, nearest, tmp_path):
    config = tiny_config("llama") | {key: 1}
    with pytest.raises(
        ConfigError, match=rf"unknown key 'model\.config\.{key}'; the nearest .* 'model\.config\.{nearest}'"
    ):
        read_spec(config, strict=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    read_spec(tmp_path, strict=True)  # published configs have keys that nobody here knows


def test_a_misspelt_rotary_key_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'model\.config\.rope_scaling\.facter'.*rope_scaling\.factor'"):
        read_spec(tiny_config("llama", rope_scaling={**LINEAR, "facter": 3}), strict=True)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"hidden_size": 4095, "num_attention_heads": 32, "num_key_value_heads": 8},
            "hidden_size is 4095 and num_att.* 32",
        ),
        ({"intermediate_size": 0}, "intermediate_size is 0; it must be a whole number of at least 1"),
        ({"hidden_size": -36}, "hidden_size is -36"),
        ({"hidden_size": 36.0}, r"hidden_size is 36\.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
        ({"num_key_value_heads": 4}, "num_attention_heads is 6 and num_key_value_heads 4"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0"),
        (
            {"num_attention_heads": 12, "num_key_value_heads": 3},
            "hidden_size / num_attention_heads is 3.*even",
        ),
        ({"head_dim": 9}, "head_dim is 9.*even"),
        ({"hidden_act": "sillu"}, "hidden_act is 'sillu'.*nearest.*'silu'"),
        (
            {"tie_word_embeddings": "false"},
            "tie_word_embeddings is 'false'; it must be true or false, without quotes",
        ),
        ({"attention_bias": 1}, "attention_bias is 1; it must be true or false"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6'"),
        ({"initializer_range": -0.1}, r"initializer_range is -0\.1"),
        ({"attention_dropout": 1.0}, r"attention_dropout is 1\.0; .* below 1"),
        ({"attention_dropout": -0.1}, r"attention_dropout is -0\.1"),
        ({"rope_theta": 0}, "rope_theta is 0"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; it must be a table"),
        ({"rope_scaling": {"rope_type": "liner", "factor": 2.0}}, r"rope_scaling\.rope_type is 'liner'"),
        (
            {"rope_scaling": {"type": "linear"}},
            r"rope_scaling\.factor is missing; rope_type 'linear' needs it",
        ),
        ({"rope_parameters": {**LINEAR, "factor": 0.5}}, r"rope_parameters\.factor is 0\.5"),
        ({"rope_parameters": {**LINEAR, "rope_theta": -1.0}}, r"rope_parameters\.rope_theta is -1\.0"),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            r"rope_scaling\.low_freq_factor is missing",
        ),
        ({"vocab_size": 10**30}, r"vocab_size is 10+; .* below 2 \*\* 31"),
        ({"hidden_act": ["silu"]}, r"hidden_act is \['silu'\]"),
        ({"quantization_config": "fp8"}, "quantization_config is 'fp8'; it must be a table"),
        ({"rope_parameters": {**LINEAR, "rope_type": ["linear"]}}, r"rope_type is \['linear'\]"),
        (
            {"rope_parameters": {**LINEAR, "attention_factor": -1.0}},
            r"rope_parameters\.attention_factor is -1\.0",
        ),
        (
            {"rope_parameters": {**YARN, "original_max_position_embeddings": 0}},
            "_embeddings is 0; .* above 0",
        ),
        ({"rope_parameters": {**YARN, "beta_fast": "x"}}, "beta_fast is 'x'"),
        (
            {"rope_parameters": {**LONG, "long_factor": [1.0, float("nan"), 1.0]}},
            r"long_factor is \[1\.0, nan",
        ),
        ({"rope_parameters": {**LONG, "short_factor": 3}}, r"short_factor is 3; it must be a list"),
        (
            {"rope_parameters": {**LONG, "short_factor": [1.0] * 2, "long_factor": [1.0] * 2}},
            "no llama model can",
        ),
        (
            {"rope_parameters": {**LONG, "long_factor": [1.0] * 4}},
            "short_factor has 3 numbers and long_factor 4",
        ),
        (
            {"rope_parameters": {**YARN, "partial_rotary_factor": 0.5}},
            "no llama model can be built of this config",
        ),
        ({"rope_parameters": {**LINEAR, "rope_theta": None}}, "no llama model can be built of this config"),
    ],
)
def test_values_that_cannot_work_are_named(changes, message, tmp_path):
    config = tiny_config("llama", **changes)
    (tmp_path / "config.json").write_text(json.dumps(config))
    for source in (config, tmp_path):
        with pytest.raises(ModelError, match=message) as error:
            read_spec(source)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("gemma2", {"hidden_activation": "gelu_tan"}, "hidden_activation is 'gelu_tan'"),
        ("gemma2", {"final_logit_softcapping": 0.0}, r"final_logit_softcapping is 0\.0"),
        ("gemma2", {"query_pre_attn_scalar": -1}, "query_pre_attn_scalar is -1"),
        (
            "gemma2",
            {"layer_types": "sliding_attention"},
            "layer_types is 'sliding_attention'; it must be a list",
        ),
        ("phi3", {"resid_pdrop": 2}, "resid_pdrop is 2"),
        ("qwen2", {"use_sliding_window": "no"}, "use_sliding_window is 'no'"),
        (
            "gemma3_text",
            {"rope_parameters": {"full_attention": {"rope_type": "no"}}},
            r"full_attention\.rope_type is 'no'",
        ),
    ],
)
def test_values_of_one_architecture_that_cannot_work_are_named(name, changes, message):
    with pytest.raises(ModelError, match=message):
        read_spec(tiny_config(name, **changes))


@pytest.mark.parametrize("name", NAMES)
def test_any_value_of_any_key_is_taken_or_refused_in_one_line(name):
    """What is taken can be built: parameters and rotary tables."""
    values = [None, True, "x", -1, 0, 2.5, float("nan"), 10**30, [], [1], {}, {"a": 1}]
    drawn = random.Random(name)
    for key in sorted({*tiny_config(name), *ROPES, "rope_theta", "hidden_act", "attention_dropout"}):
        for value in drawn.sample(values, 3):
            try:
                spec = read_spec(tiny_config(name) | {key: value})
            except ModelError as error:
                assert "\n" not in str(error)
                continue
            assert parameter_shapes(spec)
            assert make_context(spec, *torch.zeros(2, 1, 3, dtype=torch.int64)).rotary


def test_a_head_width_of_its_own_needs_no_division():
    spec = read_spec(tiny_config("qwen3", hidden_size=35))
    assert parameter_shapes(spec)["model.layers.0.self_attn.q_proj.weight"] == (60, 35)
