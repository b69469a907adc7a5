"""Counted work, parameters and kept bytes against torch's own counting of real layers."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from pinisi.costs import (
    PRESETS,
    Setting,
    gpt_shape,
    head_layers,
    kept,
    made_again,
    model_flops,
    pass_costs,
    rank_memory,
    shape_of,
)
from pinisi.costs.presets import preset, preset_names
from pinisi.costs.rates import Rates
from pinisi.costs.work import head_columns
from pinisi.models import RandomWeights, build_stage, make_context, parameter_shapes, read_spec
from pinisi.schedule import build, layout_of, simulate
from pinisi.vocabulary.head_pass import tiling
from tests.models.tiny import NAMES, tiny_config


def config(name: str, **changes) -> dict:
    return tiny_config(name, hidden_size=84, intermediate_size=150, max_position_embeddings=256, **changes)


@pytest.mark.parametrize(("b", "s"), [(1, 37), (3, 19)])
@pytest.mark.parametrize("name", NAMES)
def test_flops_are_those_that_torch_counts(name: str, b: int, s: int) -> None:
    # eager: its scores and values are plain products; a fused kernel's backward computes the scores again
    spec = read_spec(config(name, attn_implementation="eager"), attention="eager")
    model = AutoModelForCausalLM.from_config(spec.config, attn_implementation="eager")
    ids = torch.randint(1, spec.vocabulary, (b, s))
    with FlopCounterMode(display=False) as counter:
        model(ids).logits.sum().backward()
    counted = counter.get_total_flops()
    ours = model_flops(shape_of(spec), Setting(s, b, "float32"))
    # rotary tables are an outer product of a few FLOPs
    assert counted == pytest.approx(ours, rel=2e-3)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_models(name: str, tied: bool) -> None:
    spec = read_spec(config(name, tie_word_embeddings=tied))
    assert shape_of(spec).parameters == sum(shape.numel() for shape in parameter_shapes(spec).values())


def test_parameters_of_a_gpt_are_megatrons() -> None:
    # arXiv 2104.04473, equation 2: 12lh²(1 + 13/(12h) + (V + s)/(12lh)), with head and embedding tied there
    h, layers, v, s = 3072, 30, 51200, 2048
    untied = gpt_shape(h, layers, 24, v, s)
    published = 12 * layers * h**2 * (1 + 13 / (12 * h) + (v + s) / (12 * layers * h))
    assert untied.parameters - v * h - 2 * h == pytest.approx(published, rel=1e-12)


def saved_bytes(
    name: str, dtype: torch.dtype, b: int, s: int, layer: int, *, packed: bool, recompute: bool
) -> int:
    """Bytes of the storages that autograd saves in one layer; parameters, masks, rotary tables and what belongs to no
    token are left out."""
    spec = read_spec(config(name))
    stage = build_stage(spec, range(layer, layer + 1), RandomWeights(spec, 0, dtype), dtype=dtype)
    documents = torch.zeros(b, s, dtype=torch.int32)
    if packed:
        documents[:, s // 2 :] = 1
    positions = torch.arange(s).repeat(b, 1)
    context = make_context(spec, documents, positions, dtype, torch.device("cpu"))
    shared = {p.untyped_storage().data_ptr() for p in stage.parameters()}
    for table in (*context.masks.values(), *(t for pair in context.rotary.values() for t in pair)):
        if table is not None:
            shared.add(table.untyped_storage().data_ptr())
    masks = b * s * s * dtype.itemsize
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.dim() == 4 and tensor.shape[-2:] == (s, s) and storage.nbytes() == masks:
            return tensor  # a copy of the mask
        if storage.data_ptr() not in shared and storage.nbytes() % (b * s) == 0:
            found[storage.data_ptr()] = tensor  # held, so that no other storage takes its place
        return tensor

    hidden = torch.randn(b, s, spec.hidden, dtype=dtype, requires_grad=True)
    run = stage.layers[0]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if recompute:
            checkpoint(run, hidden, context, use_reentrant=False)
        else:
            run(hidden, context)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_kept_bytes_are_those_that_autograd_saves(name: str, packed: bool, dtype: str) -> None:
    spec = read_spec(config(name))
    # phi3 copies the attention's output (its q, k and v are one tensor): 1 number per token and unit of width more
    tolerance = 0.07 if name == "phi3" else 0.02
    for b, s, layer in ((2, 61, 1), (3, 37, 2)):
        counted = saved_bytes(name, getattr(torch, dtype), b, s, layer, packed=packed, recompute=False)
        ours = sum(kept(shape_of(spec), Setting(s, b, dtype, masked=packed), layer).values())
        assert ours == pytest.approx(counted, rel=tolerance), (b, s, layer)


def kept_in_blocks(name: str, dtype: torch.dtype, b: int, s: int, layer: int) -> int:
    """Bytes of the storages that autograd saves in one layer whose attention takes bounds; parameters, rotary tables, the small
    masks of tiles and what belongs to no token are left out."""
    spec = read_spec(config(name), attention="blocks")
    stage = build_stage(spec, range(layer, layer + 1), RandomWeights(spec, 0, dtype), dtype=dtype)
    documents = (torch.arange(s) >= s // 2).int().repeat(b, 1)
    context = make_context(spec, documents, torch.arange(s).repeat(b, 1), dtype)
    shared = {p.untyped_storage().data_ptr() for p in stage.parameters()}
    shared |= {t.untyped_storage().data_ptr() for pair in context.rotary.values() for t in pair}
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in shared and tensor.dtype != torch.bool and tensor.numel() > s:
            found[storage.data_ptr()] = tensor  # held, so that no other storage takes its place
        return tensor

    hidden = torch.randn(b, s, spec.hidden, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stage.layers[0](hidden, context)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_kept_bytes_of_attention_in_blocks_are_those_that_autograd_saves(name: str, dtype: str) -> None:
    spec = read_spec(config(name), attention="blocks")
    # phi3's values are a view of its q, k and v in one tensor, all of which is kept
    tolerance = 0.11 if name == "phi3" else 0.03
    for b, s, layer in ((2, 61, 1), (3, 37, 2)):
        counted = kept_in_blocks(name, getattr(torch, dtype), b, s, layer)
        ours = sum(kept(shape_of(spec), Setting(s, b, dtype, attention="blocks"), layer).values())
        assert ours == pytest.approx(counted, rel=tolerance), (b, s, layer)


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_recomputation_keeps_the_layers_input(name: str) -> None:
    counted = saved_bytes(name, torch.bfloat16, 2, 61, 1, packed=True, recompute=True)
    spec = read_spec(config(name))
    assert kept(shape_of(spec), Setting(61, 2, recompute=True))["inputs"] == counted


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_heads_budget_is_cut_as_the_head_cuts_it(device: str, dtype: str) -> None:
    where = "cpu" if device == "cpu" else "meta"  # to the head all but a CPU is a GPU
    several = set()
    for tokens, hidden, rows in itertools.product(
        (1, 61, 2048, 8192), (52, 4096), (0, 1, 63, 300, 2049, 5003, 19_000, 32_000, 151_936)
    ):
        shape = gpt_shape(hidden, 2, 4, 1009, 64)
        x = torch.empty(tokens, hidden, dtype=getattr(torch, dtype), device=where)
        everything = x.element_size() * tokens * rows
        budgets = [None, 0, 1, 2**20, 3 * 2**22, 5 * 2**28, everything - 1, everything, everything + 2**21]
        for budget in [*budgets, *(int(share * everything) for share in (0.01, 0.1, 0.4, 0.9))]:
            setting = Setting(tokens, 1, dtype, head_budget=budget if budget is None else max(0, budget))
            cut = tiling(x, rows, setting.head_budget, 0)
            working = 0 if cut.kept == len(cut.bounds) else cut.widest
            asked = (tokens, hidden, rows, budget)
            assert head_columns(shape, setting, rows, device) == (cut.kept_columns, working), asked
            share = 1 - cut.kept_columns / max(1, rows) if rows else 0.0
            assert made_again(shape, setting, rows, device) == share, asked
            several.add(0 < share < 1)
    assert several == {False, True}


def test_a_plan_cuts_as_its_hardware_does() -> None:
    shape, rows = gpt_shape(512, 4, 8, 64_000, 256), 16_000
    setting = Setting(256, 2, "float32", head_budget=2**23)
    gpu, cpu = PRESETS["H100"], dataclasses.replace(PRESETS["H100"], name="CPU, measured")
    assert [one.device for one in (gpu, cpu)] == ["cuda", "cpu"]
    assert {preset.device for preset in PRESETS.values()} == {"cuda"}
    t = {one.device: Rates(shape, setting, one).head(rows, 1)[1] for one in (gpu, cpu)}
    again = {device: made_again(shape, setting, rows, device) for device in t}
    assert again["cuda"] > again["cpu"] and t["cuda"] > t["cpu"]
    layout, schedule = layout_of("1f1b", 1, barriers=1), build("1f1b", 1, 1, barriers=1)
    for one in (gpu, cpu):
        timeline = simulate(schedule, pass_costs(shape, setting, one, layout, [4], [rows]))
        (found,) = rank_memory(shape, setting, one, timeline, [4], [rows])
        kept_columns, working = head_columns(shape, setting, rows, one.device)
        # kept columns, the tile that is worked on with 6 bytes of a number at the most, X and A
        assert found.parts["vocabulary"] == 512 * (4 * kept_columns + 6 * working + 512 * (4 + 4))


def test_a_gpt_keeps_what_is_published() -> None:
    # arXiv 2205.05198, equation 2, without attention's scores: 34·s·b·h
    shape = gpt_shape(3072, 32, 24, 32000, 2048)
    assert sum(kept(shape, Setting(2048, 3, "float16")).values()) == 34 * 2048 * 3 * 3072


def test_the_heads_work_in_layers_is_published() -> None:
    # arXiv 2411.05288, section 2: V / (12h + 2s) layers, with causal attention counted whole here: 4s / 2
    shape = gpt_shape(3072, 32, 24, 256000, 2048)
    assert head_layers(shape, Setting(2048)) == pytest.approx(256000 / (12 * 3072 + 2 * 2048))


@pytest.mark.parametrize(
    ("name", "billions"),  # as the reports and the hub's cards say
    [
        ("qwen2.5-0.5b", 0.49),
        ("qwen2.5-7b", 7.62),
        ("qwen2.5-72b", 72.7),
        ("llama3-8b", 8.03),
        ("llama3-70b", 70.6),
        ("llama3-405b", 405.9),
        ("gemma3-1b", 1.0),
        ("gemma3-4b", 3.88),
        ("gemma3-27b", 27.0),
        ("sailor2-1b", 0.99),
        ("sailor2-8b", 8.55),
        ("qwen3-0.6b", 0.596),  # totals on the model cards, and of the weights' files
        ("qwen3-1.7b", 1.72),
        ("qwen3-4b", 4.02),
        ("qwen3-8b", 8.19),
        ("qwen3-14b", 14.77),
        ("qwen3-32b", 32.76),
    ],
)
def test_presets_have_the_published_size(name: str, billions: float) -> None:
    found = preset(name)
    assert found is not None
    assert shape_of(read_spec(found)).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_every_preset_can_be_read() -> None:
    assert preset("no such model") is None
    for name in preset_names():
        found = preset(name.upper())
        assert found is not None and shape_of(read_spec(found)).layers == found["num_hidden_layers"]
