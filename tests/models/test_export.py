import json
import resource
import signal

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import DataError, ModelError
from pinisi.models import (
    FolderWeights,
    RandomWeights,
    parameter_shapes,
    read_spec,
    reference_inputs,
    write_folder,
)
from pinisi.models import export as export_module

from .tiny import NAMES, DictWeights, packed, perturbed, run, stages, tiny_config, tiny_spec


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_transformers_loads_what_was_written_and_gives_the_same_logits(name, tied, tmp_path):
    spec = tiny_spec(name, tie_word_embeddings=tied)
    tensors = perturbed(RandomWeights(spec, 3))
    folder = write_folder(spec, tensors.items(), tmp_path / "model", max_shard_bytes=100_000)
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=spec.attention, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    tokens, documents, positions = packed()
    parts = stages(spec, DictWeights(tensors), [1, 3], torch.float32)
    with torch.no_grad():
        expected = run(parts, tokens, documents, positions, torch.float32)
        found = model(**reference_inputs(spec, tokens, documents, positions)).logits
    assert torch.equal(found, expected)
    again = FolderWeights(read_spec(folder), folder)
    assert again.names() == list(tensors)
    assert all(torch.equal(again.get(key), tensor) for key, tensor in tensors.items())


def tensors_of(spec, seed=0, dtype=torch.float32):
    weights = RandomWeights(spec, seed, dtype)
    return {name: weights.get(name) for name in weights.names()}


def test_the_files_are_those_of_transformers(tmp_path):
    spec = tiny_spec("llama")
    write_folder(spec, tensors_of(spec, dtype=torch.bfloat16).items(), tmp_path / "one")
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [
        ".pinisi.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "one").dtype == torch.bfloat16

    limit = 60_000
    write_folder(spec, tensors_of(spec).items(), tmp_path / "several", max_shard_bytes=limit)
    index = json.loads((tmp_path / "several" / "model.safetensors.index.json").read_text())
    files = sorted(p for p in (tmp_path / "several").iterdir() if p.suffix == ".safetensors")
    assert {p.name for p in files} == set(index["weight_map"].values())
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert set(index["weight_map"]) == set(parameter_shapes(spec))
    assert index["metadata"]["total_size"] == sum(
        4 * shape.numel() for shape in parameter_shapes(spec).values()
    )
    big = {index["weight_map"][name] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    assert all(p.stat().st_size < limit + 4000 for p in files if p.name not in big)
    assert list(tmp_path.glob(".*")) == []


def test_tokenizer_and_generation_files_go_along(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(tiny_config("llama")))
    (source / "generation_config.json").write_text('{"temperature": 0.25, "do_sample": true}')
    spec = read_spec(source)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    with pytest.raises(ModelError, match="has no tokenizer files"):
        write_folder(spec, tensors_of(spec).items(), tmp_path / "model", tokenizer)
    assert not (tmp_path / "model").exists()
    (tokenizer / "tokenizer.json").write_text('{"a": 1}')
    (tokenizer / "notes.txt").write_text("not the tokenizer's")
    write_folder(spec, tensors_of(spec).items(), tmp_path / "model", tokenizer)
    assert (tmp_path / "model" / "tokenizer.json").read_text() == '{"a": 1}'
    assert not (tmp_path / "model" / "notes.txt").exists()
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text())["temperature"] == 0.25


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda items: items[:-1], r"1 parameters are missing, the first is lm_head\.weight"),
        (lambda items: [*items, items[0]], r"embed_tokens\.weight was given twice"),
        (lambda items: [*items, ("model.extra", torch.zeros(1))], r"model\.extra is not a parameter"),
        (lambda items: [(items[0][0], items[0][1][:9]), *items[1:]], r"has shape \[9, 36\]; .* needs \[1009"),
        (lambda items: [(items[0][0], items[0][1].double()), *items[1:]], "several dtypes"),
    ],
)
def test_tensors_that_are_not_the_models_are_named_and_the_old_folder_stays(change, message, tmp_path):
    spec = tiny_spec("llama")
    old = tensors_of(spec)
    write_folder(spec, old.items(), tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        write_folder(spec, change(list(tensors_of(spec, seed=1).items())), tmp_path / "model")
    still = FolderWeights(spec, tmp_path / "model")
    assert all(torch.equal(still.get(name), tensor) for name, tensor in old.items())
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_is_replaced_whole(tmp_path):
    spec = tiny_spec("llama")
    write_folder(spec, tensors_of(spec).items(), tmp_path / "model", max_shard_bytes=50_000)
    new = tensors_of(spec, seed=1)
    write_folder(spec, new.items(), tmp_path / "model")
    found = FolderWeights(spec, tmp_path / "model")
    assert all(torch.equal(found.get(name), tensor) for name, tensor in new.items())
    assert len(list((tmp_path / "model").glob("*.safetensors*"))) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def no_room():
    """The system refuses files above 100 kB, as a full disk would, while safetensors are being written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_no_room_leaves_the_old_folder(tmp_path, request):
    spec = tiny_spec("llama")
    old = tensors_of(spec)
    write_folder(spec, old.items(), tmp_path / "model")
    request.getfixturevalue("no_room")
    with pytest.raises(ModelError, match=r"could not be written: .* before is untouched"):
        write_folder(spec, tensors_of(spec, seed=1).items(), tmp_path / "model")
    still = FolderWeights(spec, tmp_path / "model")
    assert all(torch.equal(still.get(name), tensor) for name, tensor in old.items())
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failure_while_taking_the_place_puts_the_old_folder_back(tmp_path, monkeypatch):
    spec = tiny_spec("llama")
    old = tensors_of(spec)
    write_folder(spec, old.items(), tmp_path / "model")
    real = export_module.Path.rename

    def rename(path, target):
        if path.name.endswith(".new"):
            raise OSError("the disk went away")
        return real(path, target)

    monkeypatch.setattr(export_module.Path, "rename", rename)
    with pytest.raises(ModelError, match="the disk went away"):
        write_folder(spec, tensors_of(spec, seed=1).items(), tmp_path / "model")
    assert torch.equal(FolderWeights(spec, tmp_path / "model").get("lm_head.weight"), old["lm_head.weight"])
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_writer_left_is_mended_by_the_next(tmp_path):
    spec = tiny_spec("llama")
    old = tensors_of(spec)
    write_folder(spec, old.items(), tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.old")  # killed between its two renames
    (tmp_path / ".model.new").mkdir()
    (tmp_path / ".model.new" / "part-0").write_text("half a file")
    with pytest.raises(ModelError, match="are missing"):
        write_folder(spec, [], tmp_path / "model")
    assert torch.equal(FolderWeights(spec, tmp_path / "model").get("lm_head.weight"), old["lm_head.weight"])
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_everybody_who_may_read_the_config_may_read_the_weights(tmp_path):
    spec = tiny_spec("llama")
    write_folder(spec, tensors_of(spec).items(), tmp_path / "model", max_shard_bytes=50_000)
    (tmp_path / "plain").mkdir()
    assert {p.stat().st_mode for p in (tmp_path / "model").iterdir()} == {
        (tmp_path / "model" / "config.json").stat().st_mode
    }
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_one_shard_is_held_at_a_time(tmp_path):
    """Tensors are asked for as they are written, so a caller may gather them one by one."""
    spec = tiny_spec("llama")
    tensors = tensors_of(spec)
    written = []
    real = export_module.save_file

    def given():
        for name, tensor in tensors.items():
            yield name, tensor
            held = sum(4 * tensors[n].numel() for n in list(tensors)[: list(tensors).index(name) + 1])
            assert held - sum(written) <= 300_000

    def save(shard, path, **kw):
        written.append(sum(t.nbytes for t in shard.values()))
        return real(shard, path, **kw)

    export_module.save_file = save
    try:
        write_folder(spec, given(), tmp_path / "model", max_shard_bytes=150_000)
    finally:
        export_module.save_file = real
    assert len(written) > 2


@pytest.mark.parametrize("file", ["model.safetensors", "notes.md"])
def test_a_folder_that_we_did_not_make_is_left_alone(tmp_path, file):
    """An export over another model's folder, such as the one that a run started from, deleted it."""
    spec = tiny_spec("llama")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / file).write_text("mine")
    with pytest.raises(DataError, match="was not made as a model by this program"):
        write_folder(spec, tensors_of(spec).items(), tmp_path / "one")
    assert [(p.name, p.read_text()) for p in (tmp_path / "one").iterdir()] == [(file, "mine")]
    write_folder(spec, tensors_of(spec).items(), tmp_path / "two")
    (tmp_path / "two" / file).write_text("mine")
    if file == "notes.md":
        with pytest.raises(DataError, match=r"holds notes\.md"):
            write_folder(spec, tensors_of(spec).items(), tmp_path / "two")
