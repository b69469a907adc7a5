"""Folders of expanded models: what is copied, what is refused, what it costs, and how much is in memory."""

from __future__ import annotations

import json
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinisi.base.errors import ConfigError, ModelError
from pinisi.cli import main
from pinisi.cli.expand import SAILOR2
from pinisi.cookbook.expand import PRESETS, ExpandOptions, costs, expand_model, expanded_spec
from pinisi.costs.presets import preset
from pinisi.models import FolderWeights, new_layers, parameter_shapes, read_spec

from .made_models import tiny_model


def quiet(line: str) -> None:
    pass


def test_a_folder_keeps_all_that_is_not_of_its_layers(tmp_path, capsys) -> None:
    old = tiny_model(tmp_path / "old", "qwen3", "qwen", tied=True)
    (old / "chat_template.jinja").write_text("{{ messages }}")
    (old / "LICENSE").write_text("theirs")
    (old / "pytorch_model.bin").write_text("pickle")
    assert main(["expand", str(old), str(tmp_path / "new"), "--layers", "6", "--untie"]) == 0
    said = capsys.readouterr().out
    assert "4 layers become 6" in said and "new: 2, 5" in said and f"model: {tmp_path / 'new'}" in said
    for path in old.iterdir():
        if path.name in ("config.json", "model.safetensors", ".pinisi.json"):
            continue
        copied = path.name != "pytorch_model.bin"
        assert (tmp_path / "new" / path.name).exists() is copied
        assert not copied or (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (old, tmp_path / "new"))
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {"num_hidden_layers", "layer_types", "tie_word_embeddings"} | (
        {"max_window_layers"} if "max_window_layers" in changed else set()
    )
    assert new_layers(read_spec(tmp_path / "new")) == [2, 5]
    assert main(["expand", str(tmp_path / "new"), str(tmp_path / "again"), "--layers", "7"]) == 0
    assert new_layers(read_spec(tmp_path / "again")) == [6]  # of the newest expansion


def test_copies_are_their_sources_but_for_what_is_silenced(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "qwen2", "qwen", tied=False)
    found = expand_model(old, tmp_path / "new", ExpandOptions(6), report=quiet)
    before, after = (load_file(folder / "model.safetensors") for folder in (old, tmp_path / "new"))
    for name, tensor in after.items():
        parts = name.split(".")
        if parts[1] != "layers":
            assert torch.equal(tensor, before[name])
            continue
        place = int(parts[2])
        source = ".".join([*parts[:2], str(found.sources[place]), *parts[3:]])
        silent = place in found.new and parts[4] in ("o_proj", "down_proj")
        assert torch.equal(tensor, before[source] * (not silent)), name


def test_little_is_in_memory_at_once(tmp_path, monkeypatch) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False, num_hidden_layers=12)
    alive: dict[int, int] = {}
    most, read = 0, FolderWeights.get

    def watched(self, name, rows=None):
        nonlocal most
        found = read(self, name, rows).clone()
        alive[id(found)] = found.nbytes
        weakref.finalize(found, alive.pop, id(found), None)
        most = max(most, sum(alive.values()))
        return found

    monkeypatch.setattr(FolderWeights, "get", watched)
    limit = 60_000
    expand_model(old, tmp_path / "new", ExpandOptions(24), max_shard_bytes=limit, report=quiet)
    spec = read_spec(tmp_path / "new")
    sizes = [4 * shape.numel() for shape in parameter_shapes(spec).values()]
    assert len(list((tmp_path / "new").glob("model-*.safetensors"))) > 5
    assert 0 < most <= limit + 2 * max(sizes) < sum(sizes) / 3


def test_what_cannot_be_expanded_is_said_and_nothing_is_written(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    out = tmp_path / "new"

    def refused(match: str, model=old, **options) -> None:
        with pytest.raises(ModelError, match=match):
            expand_model(model, out, ExpandOptions(**{"layers": 6} | options), report=quiet)
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".new", "new"))) == []

    refused("differ, first in row", ends="tie")
    refused("3 layers are asked for", layers=3)
    with pytest.raises(ModelError, match="is the model that is read"):
        expand_model(old, old, ExpandOptions(6), report=quiet)
    tensors = load_file(old / "model.safetensors")
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "config.json").write_text((old / "config.json").read_text())
    save_file(
        tensors | {"model.layers.0.mlp.up_proj.qweight": torch.zeros(2, 2)}, packed / "model.safetensors"
    )
    refused("is quantised .GPTQ or AWQ: it has a tensor model.layers.0.mlp.up_proj.qweight", packed)
    (packed / "model.safetensors").unlink()
    refused("has neither model.safetensors", packed)
    (packed / "config.json").write_text('{"model_type": "bert"}')
    refused("architecture 'bert' is not supported", packed)
    refused("is not a folder", tmp_path / "nowhere")


def test_an_end_in_the_middle_leaves_the_old_folder(tmp_path, monkeypatch) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    expand_model(old, tmp_path / "new", ExpandOptions(5), report=quiet)
    whole = (tmp_path / "new" / "model.safetensors").read_bytes()
    read = FolderWeights.get

    def torn(self, name, rows=None):
        if name.startswith("model.layers.3."):
            raise KeyboardInterrupt
        return read(self, name, rows)

    monkeypatch.setattr(FolderWeights, "get", torn)
    with pytest.raises(KeyboardInterrupt):
        expand_model(old, tmp_path / "new", ExpandOptions(8), report=quiet)
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "thesis.tex").write_text("years")
    with pytest.raises(Exception, match="was not made as a model"):
        expand_model(old, tmp_path / "new", ExpandOptions(6), report=quiet)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch) -> None:
    from pinisi.base import files

    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    size = 4 * sum(shape.numel() for shape in parameter_shapes(read_spec(old)).values())
    monkeypatch.setattr(files, "free_bytes", lambda path: size)
    with pytest.raises(ModelError, match="GiB are free there"):
        expand_model(old, tmp_path / "new", ExpandOptions(5), report=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_folder_keeps_its_dtype(dtype, tmp_path, capsys) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    tensors = load_file(old / "model.safetensors")
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, old / "model.safetensors")
    assert main(["expand", str(old), str(tmp_path / "new"), "--layers", "5"]) == 0
    assert f"weights, {str(dtype).removeprefix('torch.')} " in capsys.readouterr().out
    assert {tensor.dtype for tensor in load_file(tmp_path / "new" / "model.safetensors").values()} == {dtype}
    found = json.loads((tmp_path / "new" / "config.json").read_text())
    assert str(dtype) == f"torch.{found.get('dtype') or found.get('torch_dtype')}"


# -- presets and costs -------------------------------------------------------------------------------------------------


def test_presets_are_those_of_the_command_and_give_the_models_that_plan_knows() -> None:
    assert tuple(PRESETS) == SAILOR2
    for name, chosen in PRESETS.items():
        spec = read_spec(preset(chosen.base.partition("/")[2].lower()))
        assert spec.layers == chosen.base_layers
        new, _ = expanded_spec(spec, chosen.options)
        wanted = read_spec(preset(name))
        assert parameter_shapes(new) == parameter_shapes(wanted) and new.tied is wanted.tied is False


def test_a_dry_run_says_what_it_costs(tmp_path, capsys) -> None:
    command = ["expand", "qwen2.5-0.5b", "--preset", "sailor2-1b", "--dry-run", "--sequence", "1024"]
    assert main([*command, "--json", str(tmp_path / "cost.json")]) == 0
    said = capsys.readouterr().out
    assert "24 layers become 48" in said and "parameters" in said and "->" in said
    found = json.loads((tmp_path / "cost.json").read_text())
    before, after = (
        sum(s.numel() for s in parameter_shapes(read_spec(preset(n))).values())
        for n in ("qwen2.5-0.5b", "sailor2-1b")
    )
    assert (found["before"]["parameters"], found["after"]["parameters"]) == (before, after)
    assert found["after"]["bytes"] == 2 * after and found["after"]["training_bytes"] == 18 * after
    body = found["after"]["parameters"] - 2 * 151936 * 896
    assert found["after"]["flops_per_token"] == pytest.approx(
        6 * (body + 151936 * 896) + 12 * 48 * 14 * 64 * 1024, rel=1e-3
    )


def test_a_cost_counts_the_stored_dtype() -> None:
    spec = read_spec(preset("qwen2.5-0.5b"))
    new, _ = expanded_spec(spec, ExpandOptions(30))
    assert (
        costs(spec, new, "float32", 64)["before"]["bytes"]
        == 2 * costs(spec, new, "bfloat16", 64)["before"]["bytes"]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("qwen2.5-0.5b", "--layers", "48"), "where to"),
        (("qwen2.5-0.5b", "--dry-run"), "--layers N, or --preset NAME"),
        (("qwen2.5-0.5b", "--dry-run", "--layers", "48", "--preset", "sailor2-1b"), "one of the two"),
        (("qwen2.5-7b", "--dry-run", "--preset", "sailor2-1b"), "has 24 layers; this model has 28"),
        (("qwen2.5-0.5b", "--dry-run", "--layers", "24"), "ask for more than 24"),
        (("qwen2.5-0.5", "--dry-run", "--layers", "48"), "nearest preset is qwen2.5-0.5b"),
    ],
)
def test_a_wrong_command_is_one_clear_error(words, said, capsys) -> None:
    assert main(["expand", *words]) == 2
    assert said in capsys.readouterr().err


def test_new_layers_need_their_file(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    with pytest.raises(
        ModelError, match=r'new_layers.json, which train = "new_layers" needs: `pinisi expand` writes it'
    ):
        new_layers(read_spec(old))
    (old / "new_layers.json").write_text('{"layers": [1, 4]}')
    with pytest.raises(ModelError, match="needs a list of layers from 0 to 3"):
        new_layers(read_spec(old))
    (old / "new_layers.json").write_text('{"layers": [1, 3]}')
    assert new_layers(read_spec(old)) == [1, 3]


def test_a_preset_is_for_its_own_model() -> None:
    with pytest.raises(
        ConfigError, match=r"expands Qwen/Qwen2.5-14B, which has 48 layers; this model has 24"
    ):
        PRESETS["sailor2-20b"].check("sailor2-20b", 24)
