"""Ways without a pipeline, against sums by hand, and Megatron-LM's layout string, read back by a parser of its own."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pinisi.costs import PRESETS, Setting, rates_of, shape_of
from pinisi.costs.presets import preset
from pinisi.models import read_spec
from pinisi.plan.advice import in_megatron, without_pipeline
from pinisi.plan.megatron import megatron_layout
from pinisi.plan.planner import make_plan
from pinisi.plan.rivals import rivals
from tests.plan.test_planner import request

SHAPE = shape_of(read_spec(preset("qwen2.5-0.5b")))


def by_name(**changes) -> dict:
    given = {
        "shape": SHAPE,
        "setting": Setting(1024),
        "hardware": PRESETS["H100"],
        "ranks": 8,
        "microbatches": (32,),
    }
    return {rival.name: rival for rival in rivals(request(**{**given, **changes}))}


def test_on_one_rank_all_that_is_left_is_the_passes_and_the_update() -> None:
    rates = rates_of(SHAPE, Setting(1024, dense=True, late_head=False), PRESETS["H100"])
    head = rates.undivided_head()
    passes = (
        24 * sum(rates.layer()) + 2 * head[0] + head[1] + sum(rates.embedding(SHAPE.vocabulary, dense=True))
    )
    step = 32 * passes + rates.update(SHAPE.parameters)
    for rival in by_name(ranks=1).values():
        assert rival.tokens_per_second == pytest.approx(32 * 1024 / step) and not rival.recompute


def test_what_each_rank_holds_falls_as_it_should() -> None:
    few, many = by_name(ranks=2), by_name(ranks=32)
    n = SHAPE.parameters
    saved = few["data parallel with ZeRO-1"].memory - many["data parallel with ZeRO-1"].memory
    assert saved == pytest.approx(12 * n * (1 / 2 - 1 / 32))
    assert few["FSDP"].memory - many["FSDP"].memory == pytest.approx(18 * n * (1 / 2 - 1 / 32))


def test_a_slow_network_costs_fsdp_most_and_zero_little() -> None:
    slow = dataclasses.replace(PRESETS["H100"], network=PRESETS["H100"].network / 50)
    before = by_name(ranks=16, microbatches=(256,))
    after = by_name(ranks=16, microbatches=(256,), hardware=slow)
    rates = {name: (before[name].tokens_per_second, after[name].tokens_per_second) for name in before}
    added = {name: 256 * 1024 * (1 / after - 1 / before) for name, (before, after) in rates.items()}
    assert 0 < 8 * added["data parallel with ZeRO-1"] < added["FSDP"], added
    # FSDP moves weights twice and gradients once a microbatch: 16-bit ones, and fp32 ones
    n = 24 * SHAPE.layer_parameters + SHAPE.vocabulary_parameters
    least = 2 * (2 * 2 + 4) * n * (15 / 16) / (8 * slow.network * slow.efficiency.link)
    assert 256 * 1024 / after["FSDP"].tokens_per_second > 16 / 2 * least


def test_microbatches_that_ranks_can_not_share_have_no_rival() -> None:
    assert not by_name(microbatches=(12,)) and len(by_name(microbatches=(12, 16))) == 2


def test_layers_are_recomputed_and_ways_refused_where_memory_ends() -> None:
    roomy = by_name(setting=Setting(8192))["FSDP"]
    tight = by_name(setting=Setting(8192), limit=roomy.memory - 1)["FSDP"]
    assert tight.recompute and tight.fits and tight.memory < roomy.memory
    assert tight.tokens_per_second < roomy.tokens_per_second
    assert not by_name(limit=2**30)["FSDP"].fits


def read_back(layout: str, ranks: int) -> list[list[str]]:
    """The symbols of each stage, as Megatron-LM's guide reads them, and a check of how many there may be."""
    spelled = re.sub(r"([A-Za-z])\*(\d+)", lambda found: found[1] * int(found[2]), layout)
    stages = [list(stage) for stage in spelled.split("|")]
    assert len(stages) % ranks == 0
    return stages


def test_megatrons_layout_has_the_layers_of_the_row() -> None:
    plan = make_plan(request(microbatches=(12,)))
    seen = set()
    for row in plan.rows:
        c = row.candidate
        layout = megatron_layout(c)
        in_turn = [stages[0] for stages in c.layout.stages] == list(range(4)) and c.name not in (
            "zbv", "v-half", "v-min", "dualpipev",
        )  # fmt: skip
        assert (layout is None) == (bool(c.barriers) or not in_turn), c.label
        if layout is not None:
            stages = read_back(layout, 4)
            assert [stage.count("t") for stage in stages] == list(c.layers)
            assert stages[0][0] == "E" and stages[-1][-1] == "L"
            assert sum(stage.count("E") + stage.count("L") for stage in stages) == 2
            seen.add(c.name)
    assert {"1f1b", "interleaved-1f1b"} <= seen
    said = in_megatron(plan)
    assert '--pipeline-model-parallel-layout "E' in said and "size 4" in said
    heads = next(row.candidate for row in plan.rows if megatron_layout(row.candidate))
    assert megatron_layout(heads, 2).endswith("m*2L")


def test_a_plan_says_how_it_compares() -> None:
    plan = make_plan(request(shape=SHAPE, setting=Setting(1024), microbatches=(8,), seconds=60.0))
    lines = without_pipeline(plan)
    best = {rival.name: rival for rival in rivals(plan.request)}
    assert len(lines) == 2
    for line in lines:
        rate = best["FSDP" if "FSDP" in line else "data parallel with ZeRO-1"].tokens_per_second
        gain = rate / plan.rows[0].tokens_per_second - 1
        assert f"{rate:,.0f} tokens/s" in line and ("faster" in line) == (gain > 0)
        assert f"{abs(100 * gain):.1f} %" in line
