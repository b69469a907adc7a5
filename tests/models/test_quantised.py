"""Folders whose tensors aren't the plain weights of the model: read as what they stand for, or refused by name."""

import json
import math
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ModelError
from pinisi.models import FolderWeights, RandomWeights, read_spec, write_folder

from .tiny import tiny_config, tiny_spec

UP = "model.layers.1.mlp.up_proj.weight"  # [52, 36]
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    """A whole folder of a tiny llama, and its spec."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text(json.dumps(tiny_config("llama")))
    spec = read_spec(tmp_path / "config")
    weights = RandomWeights(spec, 7)
    return write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "m")


def change(folder, make):
    tensors = load_file(folder / "model.safetensors")
    save_file(make(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def float8(weight: torch.Tensor, block: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(stored, scales, the values that they stand for), one block after the other."""
    rows, columns = weight.shape
    scales = torch.zeros(math.ceil(rows / block[0]), math.ceil(columns / block[1]))
    stored, values = torch.empty(weight.shape, dtype=torch.float8_e4m3fn), torch.empty(weight.shape)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            here = (
                slice(i * block[0], (i + 1) * block[0]),
                slice(j * block[1], (j + 1) * block[1]),
            )
            scales[i, j] = weight[here].abs().max() / 448
            stored[here] = (weight[here] / scales[i, j]).to(torch.float8_e4m3fn)
            values[here] = stored[here].float() * scales[i, j]
    return stored, scales, values


@pytest.mark.parametrize("block", [(16, 16), (128, 128), (52, 36), (1, 36), (7, 5)])
@pytest.mark.parametrize("name", ["weight_scale_inv", "weight_scale"])
def test_float8_is_read_with_its_scales(folder, block, name):
    """Read raw, values would be off by the scale: by thousands."""
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": list(block)}
    (folder / "config.json").write_text(json.dumps(config))
    plain = load_file(folder / "model.safetensors")[UP]
    stored, scales, values = float8(plain, block)
    change(folder, lambda t: {**t, UP: stored, UP.replace("weight", name): scales})
    spec = read_spec(folder)
    found = FolderWeights(spec, folder)
    found.check()
    assert torch.equal(found.get(UP), values)
    assert torch.equal(found.get(UP, range(13, 40)), values[13:40])
    assert (found.get(UP) - plain).norm() < 0.05 * plain.norm()
    assert found.unused == []
    out = write_folder(spec, ((n, found.get(n)) for n in found.names()), folder.parent / "out")
    assert "quantization_config" not in json.loads((out / "config.json").read_text())


@pytest.mark.parametrize("shape", [(), (1,), (52, 1), (52,)])
def test_float8_with_a_scale_in_all_or_one_a_row(folder, shape):
    plain = load_file(folder / "model.safetensors")[UP]
    scale = (torch.rand(shape) + 0.5) * 1e-3
    stored = (plain * 20).to(torch.float8_e5m2)
    change(folder, lambda t: {**t, UP: stored, UP + "_scale": scale, UP[:-6] + "input_scale": torch.ones(1)})
    by_row = scale.reshape(-1, 1) if scale.numel() > 1 else scale.reshape(())
    found = FolderWeights(read_spec(folder), folder)
    assert torch.equal(found.get(UP, range(3, 9)), (stored.float() * by_row)[3:9])
    assert found.unused == []


def test_scales_that_fit_nothing_are_named(folder):
    stored = torch.zeros(52, 36, dtype=torch.float8_e4m3fn)
    change(folder, lambda t: {**t, UP: stored, UP + "_scale_inv": torch.ones(2, 3)})
    found = FolderWeights(read_spec(folder), folder)
    for look in (lambda: found.get(UP), found.check):
        with pytest.raises(ModelError, match=r"scales of .*up_proj.* have shape \[2, 3\].*dequantise it"):
            look()


def test_scales_may_be_powers_of_two_and_nothing_that_is_no_number(folder):
    plain = load_file(folder / "model.safetensors")[UP]
    stored, scale = (plain * 64).to(torch.float8_e4m3fn), torch.full((1, 1), 2.0**-6)
    powers = scale.to(torch.float8_e8m0fnu)
    change(folder, lambda t: {**t, UP: stored, UP + "_scale_inv": powers})
    assert torch.equal(FolderWeights(read_spec(folder), folder).get(UP), stored.float() / 64)
    change(folder, lambda t: {**t, UP + "_scale_inv": torch.ones(1, 1, dtype=torch.int32)})
    with pytest.raises(ModelError, match=r"up_proj\.weight_scale_inv .* stored as I32"):
        FolderWeights(read_spec(folder), folder).check()


@pytest.mark.parametrize(
    "dtype, word",
    [
        (torch.float8_e4m3fn, "stored as F8_E4M3 without its scales"),
        (torch.int8, "stored as I8"),
        (torch.uint8, "stored as U8"),
        (torch.int32, "stored as I32"),
        (torch.bool, "stored as BOOL"),
    ],
)
def test_stored_dtypes_that_are_no_weights_are_refused(folder, dtype, word):
    change(folder, lambda t: {**t, UP: torch.zeros(52, 36, dtype=dtype)})
    found = FolderWeights(read_spec(folder), folder)
    for look in (lambda: found.get(UP), found.check):
        with pytest.raises(ModelError, match=rf"up_proj\.weight in .* is {word}.*dequantise it first"):
            look()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_plain_dtypes_are_read(folder, dtype):
    plain = load_file(folder / "model.safetensors")[UP].to(dtype)
    change(folder, lambda t: {**t, UP: plain})
    found = FolderWeights(read_spec(folder), folder, torch.float64)
    found.check()
    assert torch.equal(found.get(UP), plain.double())


@pytest.mark.parametrize(
    "suffix, method",
    [
        ("qweight", "GPTQ or AWQ"),
        ("qzeros", "GPTQ or AWQ"),
        ("g_idx", "GPTQ"),
        ("weight_packed", "compressed-tensors"),
        ("SCB", "bitsandbytes"),
        ("weight.absmax", "bitsandbytes"),
        ("weight.quant_map", "bitsandbytes"),
        ("weight_blocks", "MXFP4"),
        ("weight_scale_2", "ModelOpt"),
        ("weight_scales", "EETQ"),
        ("weight._data", "Quanto"),
        ("W_q", "HQQ"),
        ("codebooks", "AQLM"),
    ],
)
def test_packed_weights_are_refused_by_name(folder, suffix, method):
    name = UP.removesuffix("weight") + suffix
    change(folder, lambda t: {n: v for n, v in t.items() if n != UP} | {name: torch.zeros(3)})
    with pytest.raises(
        ModelError, match=rf"is quantised \({method}: it has a tensor .*{suffix}\); dequantise"
    ):
        FolderWeights(read_spec(folder), folder)


@pytest.mark.parametrize("suffix", ["scale", "scales", "codes"])
def test_scales_of_an_unknown_kind_are_refused_in_layers_of_the_model_only(folder, suffix):
    change(folder, lambda t: {**t, f"vision_tower.layers.1.mlp.up_proj.{suffix}": torch.zeros(3)})
    assert len(FolderWeights(read_spec(folder), folder).unused) == 1
    change(folder, lambda t: {**t, UP.removesuffix("weight") + suffix: torch.zeros(3)})
    with pytest.raises(
        ModelError, match=rf"is quantised \(it has a tensor .*up_proj\.{suffix}\); dequantise"
    ):
        FolderWeights(read_spec(folder), folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("suffix", ["_scale_inv", "_scale"])
def test_plain_numbers_with_scales_are_not_taken_for_values(folder, dtype, suffix):
    """float8 that somebody cast to bfloat16 without its scales."""
    change(folder, lambda t: {**t, UP: t[UP].to(dtype), UP + suffix: torch.full((1, 1), 0.01)})
    found = FolderWeights(read_spec(folder), folder)
    for look in (lambda: found.get(UP), found.check):
        with pytest.raises(ModelError, match=rf"has scales \(.*up_proj\.weight{suffix}\).*dequantise it"):
            look()


@pytest.mark.parametrize(
    "name",
    [
        "mlp.up_proj.input_scale_ub",
        "self_attn.k_scale",
        "self_attn.attn.v_scale",
        "self_attn.k_proj.output_scale",
    ],
)
def test_scales_of_activations_and_caches_are_no_weights(folder, name):
    plain = load_file(folder / "model.safetensors")[UP]
    change(folder, lambda t: {**t, f"model.layers.1.{name}": torch.ones(1)})
    found = FolderWeights(read_spec(folder), folder)
    assert torch.equal(found.get(UP), plain) and found.unused == []


def test_a_groups_blocks_are_those_that_the_config_names(folder):
    """Two rows of blocks either way: of 128 and 128, or of 30 and 30."""
    stored, scales, values = float8(load_file(folder / "model.safetensors")[UP], (30, 20))
    config = json.loads((folder / "config.json").read_text())
    weights = {"strategy": "block", "block_structure": [30, 20]}
    quantisation = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantisation}))
    change(folder, lambda t: {**t, UP: stored, UP + "_scale": scales})
    assert torch.equal(FolderWeights(read_spec(folder), folder).get(UP), values)


@pytest.mark.parametrize("block", ["128", [128], [0, 128], [None, None], [1.5, 2], {"rows": 1}])
def test_blocks_that_are_no_two_numbers_are_named(folder, block):
    spec = read_spec(folder)
    spec.config.quantization_config = {"weight_block_size": block}
    with pytest.raises(ModelError, match=r"quantization_config\.weight_block_size is .* two whole numbers"):
        FolderWeights(spec, folder)


def test_a_config_that_promises_quantisation_which_its_tensors_lack_is_read_and_put_right(folder):
    config = json.loads((folder / "config.json").read_text())
    text = json.dumps(
        config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    )
    (folder / "config.json").write_text(text)
    spec = read_spec(folder)
    found = FolderWeights(spec, folder)
    found.check()
    out = write_folder(spec, ((n, found.get(n)) for n in found.names()), folder.parent / "out")
    assert json.loads((out / "config.json").read_text()) == config


def test_tensors_without_use_are_listed(folder):
    more = {
        "model.layers.4.mlp.up_proj.weight": torch.zeros(2),  # behind the last layer: multi-token prediction
        "vision_tower.layers.0.self_attn.q_proj.bias": torch.zeros(2),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(2),
    }
    change(folder, lambda t: t | more)
    assert sorted(FolderWeights(read_spec(folder), folder).unused) == sorted(more)[1:]


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "layers.0.self_attn.q_proj.bias",
        "language_model.model.layers.3.self_attn.q_norm.weight",
        "model.language_model.layers.3.mlp.gate.weight",
        "lm_head.bias",
        "model.norm.bias",
    ],
)
def test_tensors_of_layers_that_the_config_has_no_place_for_are_an_error(folder, name):
    change(folder, lambda t: {**t, name: torch.zeros(2)})
    with pytest.raises(
        ModelError, match=rf"has 1 tensors in places .* the first is {name}: config\.json is of another"
    ):
        FolderWeights(read_spec(folder), folder)


def several(tmp_path):
    spec = tiny_spec("llama")
    weights = RandomWeights(spec, 7)
    tensors = ((n, weights.get(n)) for n in weights.names())
    return spec, write_folder(spec, tensors, tmp_path / "in" / "m", max_shard_bytes=50_000)


@pytest.mark.parametrize("how", ["beside", "absolute", "link", "folder link"])
def test_an_index_leads_to_files_of_its_own_folder_only(tmp_path, how):
    spec, folder = several(tmp_path)
    index = json.loads((folder / INDEX).read_text())
    file = index["weight_map"][UP]
    away = tmp_path / "in" / "away"
    away.mkdir()
    os.rename(folder / file, away / file)
    named = {
        "beside": f"../away/{file}",
        "absolute": str(away / file),
        "link": file,
        "folder link": f"there/{file}",
    }[how]
    if how == "link":
        (folder / file).symlink_to(away / file)
    if how == "folder link":
        (folder / "there").symlink_to(away)
    index["weight_map"] = {n: named if f == file else f for n, f in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(
        ModelError, match=rf"{named}, where .*index\.json says .* lies outside the model's folder"
    ):
        FolderWeights(spec, folder)


def test_a_single_file_that_is_a_link_out_is_refused(folder):
    os.rename(folder / "model.safetensors", folder.parent / "w")
    (folder / "model.safetensors").symlink_to(folder.parent / "w")
    with pytest.raises(ModelError, match=r"model\.safetensors lies outside"):
        FolderWeights(read_spec(folder), folder)


def test_the_hubs_cache_is_read_through_its_links(tmp_path):
    spec, folder = several(tmp_path)
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "1f", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    FolderWeights(spec, snapshot).check()


def test_the_single_file_counts_where_an_index_is_left_beside_it(tmp_path):
    """As in transformers."""
    spec, folder = several(tmp_path)
    other = RandomWeights(spec, 8)
    save_file({n: other.get(n) for n in other.names()}, folder / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = FolderWeights(spec, folder).get(UP)
    assert torch.equal(found, model.get_parameter(UP)) and torch.equal(found, other.get(UP))


@pytest.mark.parametrize("entry", [3, None, ["a"], "a\0b", ""])
def test_an_index_that_names_no_file_is_refused(tmp_path, entry):
    spec, folder = several(tmp_path)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][UP] = entry
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelError) as error:
        FolderWeights(spec, folder).check()
    assert "index" in str(error.value) or "not a safetensors file" in str(error.value)
