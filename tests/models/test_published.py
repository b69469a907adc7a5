"""What training doesn't change of a published folder comes out as it went in."""

import json

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from transformers import AutoModelForCausalLM, GenerationConfig

from pinisi.base.made import MARK
from pinisi.models import RandomWeights, read_spec, write_folder
from pinisi.models.folder import MODEL_FILES, SMALL_FILES, TOKENIZER_FILES

from .tiny import NAMES, tiny_config, tiny_spec

GENERATION = '{"eos_token_id": [2, 7],\n "temperature": 0.6, "top_k": 20, "do_sample": true, "max_length": 99, "new_key": null}'
ROPE = {
    "llama": {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "gemma3_text": {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 6},
}


def published(folder, name, generation=GENERATION, **changes):
    """A folder as others publish it: keys that transformers doesn't know, old names, an order of its own."""
    config = {
        "architectures": [tiny_spec(name).architecture.part("ForCausalLM").__name__],
        "torch_dtype": "float32",
        "_name_or_path": "somebody/something",
        "transformers_version": "4.37.0",
        "some_key_of_theirs": {"a": [1, None], "ü": 1e-7},
        "temperature": 0.7,
        "do_sample": True,
        **tiny_config(name),
        **ROPE.get(name, {}),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False))
    if generation is not None:
        (folder / "generation_config.json").write_text(generation)
    return folder


def rewritten(folder, out, dtype=torch.float32):
    spec = read_spec(folder)
    weights = RandomWeights(spec, 1, dtype)
    return write_folder(spec, ((n, weights.get(n)) for n in weights.names()), out)


@pytest.mark.parametrize("name", NAMES)
def test_config_and_generation_config_come_out_byte_for_byte(name, tmp_path):
    folder = published(tmp_path / "in", name)
    out = rewritten(folder, tmp_path / "out")
    for file in ("config.json", "generation_config.json"):
        assert (out / file).read_bytes() == (folder / file).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.generation_config.eos_token_id == [2, 7]


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_another_dtype_changes_that_key_alone(key, tmp_path):
    folder = published(tmp_path / "in", "llama")
    before = json.loads((folder / "config.json").read_text())
    before = {key if k == "torch_dtype" else k: v for k, v in before.items()}
    (folder / "config.json").write_text(json.dumps(before))
    after = json.loads((rewritten(folder, tmp_path / "out", torch.bfloat16) / "config.json").read_text())
    assert after == before | {key: "bfloat16"} and list(after) == list(before)


def test_no_generation_config_stays_none(tmp_path):
    """What stands in config.json would no longer count beside one."""
    out = rewritten(published(tmp_path / "in", "llama", None), tmp_path / "out")
    assert not (out / "generation_config.json").exists()


def test_code_and_another_head_are_not_promised(tmp_path):
    auto = {"AutoConfig": "configuration_x.XConfig"}
    folder = published(tmp_path / "in", "llama", architectures=["LlamaForReward"], auto_map=auto)
    after = json.loads((rewritten(folder, tmp_path / "out") / "config.json").read_text())
    assert "auto_map" not in after and after["architectures"] == ["LlamaForCausalLM"]


def test_code_of_a_folder_is_never_run(tmp_path, monkeypatch):
    def asked(*_):
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", asked)
    folder = published(tmp_path / "in", "llama", auto_map={"AutoConfig": "configuration_x.XConfig"})
    (folder / "configuration_x.py").write_text("raise SystemExit('it was run')")
    assert type(read_spec(folder).config).__module__.startswith("transformers.models.llama")


def test_what_the_caller_changed_is_written(tmp_path):
    folder = published(tmp_path / "in", "llama")
    spec = read_spec(folder)
    spec.config.rope_parameters = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}
    weights = RandomWeights(spec, 1)
    out = write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "out")
    before, after = (json.loads((f / "config.json").read_text()) for f in (folder, out))
    assert after.pop("rope_parameters")["factor"] == 4.0
    assert after == {k: v for k, v in before.items() if k not in ("rope_scaling", "rope_theta")}


def test_generation_keys_of_a_dict_go_into_generation_config(tmp_path):
    """Old configs have them; transformers refuses to save a config with some."""
    spec = read_spec(tiny_config("llama", temperature=0.3, do_sample=True, eos_token_id=[2, 5]))
    weights = RandomWeights(spec, 1)
    out = write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "out")
    found = GenerationConfig.from_pretrained(out)
    assert (found.temperature, found.do_sample, found.eos_token_id) == (0.3, True, [2, 5])
    assert not {"temperature", "do_sample"} & set(json.loads((out / "config.json").read_text()))
    AutoModelForCausalLM.from_pretrained(out)


def test_all_of_a_tokenizers_files_and_the_licence_come_along(tmp_path):
    files = {
        "tokenizer.json": "{}",
        "tokenizer_config.json": '{"auto_map": {}}',
        "special_tokens_map.json": "{}",
        "added_tokens.json": "{}",
        "vocab.json": "{}",
        "merges.txt": "a b",
        "tokenizer.model": "\x00\x01",
        "tokenizer.model.v3": "\x00\x02",
        "sentencepiece.model": "\x00",
        "source.spm": "\x00",
        "chat_template_rag.jinja": "{{ r }}",
        "qwen.tiktoken": "x",
        "tokenization_x.py": "raise SystemExit",
        "chat_template.jinja": "{{ a }}",
        "chat_template.json": "{}",
        "additional_chat_templates/tools.jinja": "{{ b }}",
        "additional_chat_templates/rag.jinja": "{{ c }}",
        "LICENSE.txt": "as is",
        "NOTICE": "mind",
        "License.md": "as it stands",
        "COPYING": "freely",
    }
    folder = published(tmp_path / "in", "llama")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pytorch_model.bin").write_text("pickle")
    (folder / "adapter_config.json").write_text("{}")
    spec = read_spec(folder)
    weights = RandomWeights(spec, 1)
    out = write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "out", folder)
    found = {
        str(p.relative_to(out)): p.read_text()
        for p in out.rglob("*")
        if p.is_file() and p.suffix != ".safetensors" and p.name != MARK
    }
    kept = {name: (folder / name).read_text() for name in ("config.json", "generation_config.json")}
    assert found == files | kept


def test_all_that_is_copied_is_asked_of_the_hub():
    """the hub's own filter of names; a pattern of ours that it doesn't know would be missing from an export."""
    names = [pattern.replace("*", "x") for pattern in (*TOKENIZER_FILES, *MODEL_FILES)]
    assert list(filter_repo_objects(names, allow_patterns=list(SMALL_FILES))) == names


def test_a_hub_id_is_read_like_its_folder(tmp_path, monkeypatch):
    folder, asked = published(tmp_path / "in", "qwen2"), []

    def download(name, *, allow_patterns):
        asked.append((name, "*.safetensors" in allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    spec = read_spec("someone/model")
    assert spec.folder is None and spec.published.generation == GENERATION
    assert asked == [("someone/model", False)]  # weights are fetched when they are read
