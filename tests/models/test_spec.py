import json

import huggingface_hub
import pytest
import torch
import transformers
from transformers import AutoConfig

from pinisi.base.errors import ModelError
from pinisi.models import ARCHITECTURES, read_spec, vocabulary_names
from pinisi.models import spec as spec_module

from .tiny import NAMES, tiny_config, tiny_spec


@pytest.mark.parametrize("name", NAMES)
def test_dict_config_and_folder_give_the_same_spec(name, tmp_path):
    config = tiny_config(name)
    (tmp_path / "config.json").write_text(json.dumps(config))
    sources = config, AutoConfig.for_model(**config), tmp_path
    found = [read_spec(source) for source in sources]
    for spec in found:
        assert (spec.model_type, spec.hidden, spec.vocabulary, spec.layers) == (name, 36, 1009, 4)
        assert spec.attention_types == found[0].attention_types
        assert (spec.window, spec.softcap, spec.tied) == (found[0].window, found[0].softcap, False)
    assert found[2].folder == tmp_path


def test_a_spec_does_not_change_the_config_it_was_given():
    config = AutoConfig.for_model(**tiny_config("llama"))
    before = config._attn_implementation
    assert read_spec(config, attention="eager").config._attn_implementation == "eager"
    assert config._attn_implementation == before


def test_what_differs_between_architectures():
    assert tiny_spec("qwen2").attention_types == ("full_attention",) * 2 + ("sliding_attention",) * 2
    assert tiny_spec("mistral").attention_types == ("sliding_attention",) * 4
    assert tiny_spec("mistral", sliding_window=None).attention_types == ("full_attention",) * 4
    assert tiny_spec("llama").window is None
    assert tiny_spec("gemma3_text").window == 5
    assert tiny_spec("gemma2").softcap == 30.0
    assert tiny_spec("qwen3").softcap is None
    assert [name for name in NAMES if tiny_spec(name).attention == "eager"] == ["gemma2"]
    assert tiny_spec("gemma3_text", attn_logit_softcapping=50.0).attention == "eager"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_embedding_scale_is_rounded_as_in_transformers(dtype):
    spec = tiny_spec("gemma2", hidden_size=42)
    model = transformers.AutoModelForCausalLM.from_config(spec.config, dtype=dtype)
    ids = torch.tensor([[7]])
    raw = model.model.embed_tokens.weight[7]
    scaled = model.model.embed_tokens(ids)[0, 0]
    if torch.equal(scaled, raw):  # releases that scale in the model's forward
        scaled = raw * torch.tensor(42**0.5, dtype=dtype)
    assert torch.equal(raw * spec.embedding_scale(dtype), scaled)
    assert tiny_spec("llama").embedding_scale(dtype) == 1.0


def test_the_names_of_the_vocabulary_matrices():
    assert vocabulary_names(tiny_spec("olmo2")) == ("model.embed_tokens.weight", "lm_head.weight", None)
    tied = vocabulary_names(tiny_spec("olmo2", tie_word_embeddings=True))
    assert tied.head == tied.embedding == "model.embed_tokens.weight"


def test_an_unsupported_architecture_lists_those_that_are():
    for source in ({"model_type": "gpt2"}, {"model_type": ["llama"]}, AutoConfig.for_model("gpt2"), {}):
        with pytest.raises(ModelError, match="not supported") as caught:
            read_spec(source)
        assert all(name in str(caught.value) for name in ARCHITECTURES)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pad_token_id": 1009}, "pad_token_id is 1009"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"use_bidirectional_attention": True}, "not a causal model"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types|layers"),
        ({"layer_types": ["chunked_attention"] * 4}, "chunked_attention"),
        ({"num_hidden_layers": 0, "layer_types": []}, "num_hidden_layers is 0"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ],
)
def test_settings_that_cannot_work_are_named(changes, message):
    with pytest.raises(ModelError, match=message):
        tiny_spec("gemma2", **changes)


def test_attention_that_cannot_work_is_named():
    with pytest.raises(ModelError, match="soft-caps"):
        read_spec(tiny_config("gemma2"), attention="sdpa")
    with pytest.raises(ModelError, match="'auto', 'dense', 'blocks', 'flex', 'varlen', 'sdpa' and 'eager'"):
        read_spec(tiny_config("llama"), attention="flash")


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        read_spec(tmp_path)
    for content in ('{"model_type": "llama"', "[1]"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ModelError, match=r"config\.json"):
            read_spec(tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        read_spec(tmp_path / "nowhere")


def test_a_hub_id_without_network_is_one_clear_error(monkeypatch):
    def offline(name, **_):
        raise OSError("We couldn't connect to the hub\nand a second line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        ModelError, match=r"'someone/model' is neither a folder.*couldn't connect to the hub\)"
    ):
        read_spec("someone/model")


def test_an_untested_transformers_is_told(monkeypatch, recwarn):
    read_spec(tiny_config("llama"))
    assert not [w for w in recwarn if "outside the range" in str(w.message)]
    monkeypatch.setattr(spec_module, "TESTED_TRANSFORMERS", ((4, 0), (4, 57)))
    with pytest.warns(UserWarning, match=r"outside the range this was tested with, 4\.0 to 4\.57"):
        read_spec(tiny_config("llama"))


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
def test_caps_that_an_architecture_does_not_have_are_left_alone(name):
    """As transformers does: its model of such a config doesn't cap."""
    spec = tiny_spec(name, final_logit_softcapping=1.0, attn_logit_softcapping=1.0)
    assert spec.softcap is None and spec.attention == "sdpa"
    assert tiny_spec("gemma2").softcap == 30.0
