"""A model's folder in, two steps, a checkpoint, two more, and out: what training doesn't change comes out as it went in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from pinisi.base.digests import of_index
from pinisi.base.errors import CheckpointError, DataError, ModelError
from pinisi.base.made import MARK
from pinisi.config import load
from pinisi.launch.check import check
from pinisi.models import ARCHITECTURES, RandomWeights, read_spec, write_folder
from pinisi.train import checkpoint
from pinisi.train.export import export
from pinisi.train.identity import _rotary
from pinisi.train.model_files import token_ids
from tests.data.conftest import write_tokenizer
from tests.engine.runs import pinisi
from tests.models.test_published import published

TEMPLATES = {
    "chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}",
    "additional_chat_templates/tools.jinja": "{{ tools }}",
    "special_tokens_map.json": '{"eos_token": "<|end|>"}',
    "LICENSE": "as is",
}
TOML = """
[run]
folder = "run"
steps = {steps}
[model]
source = "in"
[data]
shards = "{project}/shards"
sequence = 16
[pipeline]
ranks = {ranks}
microbatches = 2
barriers = {barriers}
[optimizer]
learning_rate = 1e-3
schedule = "constant"
"""


def model_folder(folder: Path, name: str) -> Path:
    """A whole published folder: weights, configs, tokenizer with its templates, a licence."""
    published(folder, name, vocab_size=503, initializer_range=0.02)
    spec = read_spec(folder)
    weights = RandomWeights(spec, 1)
    made = write_folder(spec, ((n, weights.get(n)) for n in weights.names()), folder.parent / "made")
    shutil.copy(made / "model.safetensors", folder)
    shutil.rmtree(made)
    write_tokenizer(folder)
    for file, text in TEMPLATES.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    return folder


def write_toml(folder: Path, project: Path, steps: int, ranks: int = 1, barriers: int = 1) -> str:
    text = TOML.format(project=project, steps=steps, ranks=ranks, barriers=barriers)
    (folder / "run.toml").write_text(text)
    return "run.toml"


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".safetensors" and p.name != MARK)
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_folder_comes_out_as_it_went_in(name, project, tmp_path, alone, monkeypatch):
    """The source and the tokenizer are gone, and the run has moved, when the export is made, from elsewhere."""
    monkeypatch.chdir(tmp_path)
    given = files_of(model_folder(Path("in"), name))
    before = load_file("in/model.safetensors")
    alone(write_toml(Path(), project, 2))
    alone("run.toml", "run.steps=4")
    shutil.rmtree("in")
    (tmp_path / "elsewhere").mkdir()
    shutil.move("run", tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    out = export(Path("moved"), tmp_path / "out")
    assert files_of(out) == given
    after = load_file(out / "model.safetensors")
    assert {n: t.shape for n, t in after.items()} == {n: t.shape for n, t in before.items()}
    assert not torch.equal(after["model.norm.weight"], before["model.norm.weight"])
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == TEMPLATES["chat_template.jinja"] or "tools" in tokenizer.chat_template
    assert AutoModelForCausalLM.from_pretrained(out).generation_config.temperature == 0.6


def test_two_ranks_from_a_relative_path(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = files_of(model_folder(Path("in"), "qwen3"))
    done = pinisi("train", write_toml(Path(), project, 2, ranks=2))
    assert done.returncode == 0, done.stderr
    shutil.rmtree("in")
    monkeypatch.chdir("/")
    done = pinisi("export", str(tmp_path / "run"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "out") == given


def test_a_hub_id_brings_its_tokenizer_and_its_files(project, tmp_path, alone, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = files_of(model_folder(tmp_path / "cache", "llama"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path / "cache"))
    alone(write_toml(Path(), project, 1), "model.source=someone/model")
    assert files_of(export(Path("run"), tmp_path / "out")) == given


# -- a random start --------------------------------------------------------------------------------------------------


def test_a_random_start_generates_to_the_tokenizers_end(project, whole, tmp_path):
    """Qwen2's config has no ids of its own; the tests' tokenizer ends with <|end|>, id 0, and has no padding."""
    out = export(whole, tmp_path / "out")
    end = AutoTokenizer.from_pretrained(out).eos_token_id
    model = AutoModelForCausalLM.from_pretrained(out)
    assert end is not None and model.generation_config.eos_token_id == model.config.eos_token_id == end
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == end


class _Tokenizer:
    def __init__(self, bos, eos, pad):
        self.bos_token_id, self.eos_token_id, self.pad_token_id = bos, eos, pad


@pytest.mark.parametrize(
    "tokenizer, given, end, generation, config",
    [
        ((1, 2, 3), {}, 2, (1, 2, 3), {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}),
        ((1, 2, 2), {}, 2, (1, 2, 2), {"bos_token_id": 1, "eos_token_id": 2}),  # its row must go on learning
        ((None, 9, 4), {}, 4, (None, [9, 4], 4), {"bos_token_id": None, "eos_token_id": [9, 4]}),
        ((1, 2, 3), {"eos_token_id": 5, "pad_token_id": 6}, 2, (1, 5, 6), {"bos_token_id": 1}),
    ],
)
def test_ids_of_a_random_start(tokenizer, given, end, generation, config, monkeypatch):
    monkeypatch.setattr("pinisi.train.model_files.load_tokenizer", lambda _: _Tokenizer(*tokenizer))
    found = token_ids(given, {"temperature": 0.5}, "folder", end)
    assert found["token_ids"] == config
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    assert tuple(found["generation"].get(n) for n in names) == generation
    assert found["generation"]["temperature"] == 0.5


def test_without_a_tokenizer_documents_end_as_in_the_shards():
    assert token_ids({}, {}, None, 7)["generation"] == {"eos_token_id": 7}


# -- what is wrong is said before the first step -----------------------------------------------------------------------


def looked_at(project, tmp_path, monkeypatch, *overrides):
    monkeypatch.chdir(tmp_path)
    model_folder(Path("in"), "llama")
    return load(write_toml(Path(), project, 1), list(overrides))


def change(make) -> None:
    tensors = load_file("in/model.safetensors")
    save_file(make(tensors), "in/model.safetensors", metadata={"format": "pt"})


def test_a_quantised_source_is_refused(project, tmp_path, monkeypatch):
    config = looked_at(project, tmp_path, monkeypatch)
    change(lambda t: t | {"model.layers.2.mlp.up_proj.weight": torch.zeros(52, 36, dtype=torch.int8)})
    with pytest.raises(ModelError, match=r"layers\.2\.mlp\.up_proj\.weight .* stored as I8.*dequantise"):
        check(config)


def test_unused_tensors_are_told_once(project, tmp_path, monkeypatch):
    config = looked_at(project, tmp_path, monkeypatch)
    change(lambda t: t | {f"model.layers.{n}.mlp.up_proj.weight": torch.zeros(1) for n in range(4, 9)})
    with pytest.warns(
        UserWarning, match=r"in has 5 tensors that this model doesn't use: model\.layers\.4\..*, \.\.\."
    ):
        check(config)


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.config.hiden_size=32", ("hiden_size", "model.config.hidden_size")),
        ("model.config.hidden_size=31", ("hidden_size is 31", "num_attention_heads 4")),
        ("model.config.intermediate_size=0", ("intermediate_size is 0",)),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_train_and_plan_name_the_key(project, override, words, command, tmp_path):
    key, _, value = override.partition("=")
    text = (project / "config.toml").read_text()
    name = key.rpartition(".")[2]
    lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
    lines.insert(lines.index("[model.config]") + 1, f"{name} = {value}")
    (tmp_path / "x.toml").write_text("\n".join(lines))
    done = pinisi(command, str(tmp_path / "x.toml"))
    assert done.returncode == 2 and all(word in done.stderr for word in words), done.stderr


def test_shards_of_another_tokenizer_are_refused(project, tmp_path):
    other = write_tokenizer(tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    a, b = "Ġ", "a"
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = load(project / "config.toml", [f"model.tokenizer={other}"])
    with pytest.raises(
        DataError, match=r"made with another tokenizer than .*other: '.*' has the id \d+ in the shards"
    ):
        check(config)


def test_tokens_beyond_the_models_rows_are_refused_without_a_tokenizer(project):
    config = load(project / "config.toml", ["model.tokenizer=none", "model.config.vocab_size=300"])
    with pytest.raises(DataError, match=r"token id \d+ \(.*\), the model's vocabulary 300 rows"):
        check(config)


# -- resuming under another transformers -------------------------------------------------------------------------------


def edited(project, whole, folder: Path, change) -> object:
    """A run whose newest checkpoint's index has been changed; its configuration, to go on with."""
    last = checkpoint.latest(whole / "checkpoints")
    there = folder / "run" / "checkpoints" / last.name
    shutil.copytree(last, there)
    index = json.loads((there / "index.json").read_text())
    index["model"] = "another"  # the digest of a config with other keys
    change(index)
    index["digest"] = of_index(index)
    (there / "index.json").write_text(json.dumps(index))
    return load(project / "config.toml", [f"run.folder={folder}/run", "run.steps=9"])


def new_here(index):  # a key that only this version has
    del index["config"]["max_window_layers"]
    del index["config_defaults"]["max_window_layers"]


def new_there(index):
    index["config"]["norm_kind"] = index["config_defaults"]["norm_kind"] = "plain"


def of_before(index):
    for key in ("config_defaults", "published", "generation", "token_ids"):
        index.pop(key, None)
    index["config"]["new_option"] = None
    del index["config"]["use_sliding_window"]


def own_key(index):
    index["config"]["a_note"] = "of the user"


def rope_of_5_0(index):
    """A setting without a value beside the others; of Gemma 3, transformers 5.0 has such beside its tables by type."""
    index["config"]["rope_parameters"]["factor"] = None


@pytest.mark.parametrize("change", [new_here, new_there, of_before, own_key, rope_of_5_0])
def test_keys_at_their_defaults_make_no_other_model(change, project, whole, tmp_path):
    check(edited(project, whole, tmp_path, change))
    if change is of_before:
        assert (export(tmp_path / "run", tmp_path / "out") / "tokenizer.json").exists()


def meant_something(index):
    new_there(index)
    index["config"]["norm_kind"] = "other"


def unknown_of_before(index):
    of_before(index)
    index["config"]["new_option"] = 3


def other_width(index):
    index["config"]["intermediate_size"] = 64


def no_config(index):
    del index["config"]


@pytest.mark.parametrize(
    "change, words",
    [
        (meant_something, "norm_kind is 'other' there, and this version of transformers doesn't know it"),
        (unknown_of_before, "new_option is 3 there"),
        (other_width, "intermediate_size is 64 there and 48 here"),
        (no_config, "its fingerprint is another"),
    ],
)
def test_keys_that_say_something_make_another_model(change, words, project, whole, tmp_path):
    with pytest.raises(CheckpointError, match=f"another model than this run's: {words}"):
        check(edited(project, whole, tmp_path, change))


def test_rotary_tables_by_type_are_compared_alone():
    tables = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    assert _rotary({**tables, "rope_type": "default", "rope_theta": None}) == _rotary(tables) == tables
    assert _rotary({**tables, "full_attention": {"rope_theta": 1e5}}) != tables
