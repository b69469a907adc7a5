"""What a plan counts of an optimizer that is shared out over replicas, and of moments in bfloat16."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pinisi.cli import main as cli
from pinisi.config import load
from pinisi.costs import Setting, step_end
from pinisi.costs.hardware import GIB, read_hardware
from pinisi.costs.memory import parameters_of, rank_memory
from pinisi.costs.presets import preset
from pinisi.costs.reductions import group_parameters
from pinisi.costs.shape import shape_of
from pinisi.models import read_spec
from pinisi.plan.candidates import Request
from pinisi.plan.planner import make_plan
from pinisi.schedule import Costs, build, layout_of, simulate
from pinisi.schedule.execution.reduce import reductions_of

H100 = read_hardware("H100")
SHAPE = shape_of(read_spec(preset("qwen2.5-0.5b") or {}))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("moments", ["master", "bfloat16"])
@pytest.mark.parametrize("owners", [1, 2, 8])
def test_the_optimizers_bytes_are_shared_and_nothing_else(dtype, moments, owners):
    master = 4 if dtype == "bfloat16" else 0
    each = 2 if moments == "bfloat16" else 8 if dtype == "float64" else 4
    setting = Setting(512, dtype=dtype, moments=moments, owners=owners)
    schedule = build("1f1b", 2, 4, barriers=1)
    timeline = simulate(schedule, Costs(1.0, 1.0, 1.0, head_s=0.1, head_t=0.1))
    layers, rows = [12, 12], [75_968, 75_968]
    held = parameters_of(SHAPE, schedule.layout, layers, rows)
    whole = rank_memory(SHAPE, Setting(512, dtype=dtype), H100, timeline, layers, rows)
    for rank, memory in enumerate(rank_memory(SHAPE, setting, H100, timeline, layers, rows)):
        assert memory.parts["optimizer"] == pytest.approx(held[rank] * (master + 2 * each) / owners)
        others = {name: size for name, size in memory.parts.items() if name != "optimizer"}
        assert others == {name: size for name, size in whole[rank].parts.items() if name != "optimizer"}


@pytest.mark.parametrize("owners", [2, 4])
def test_a_shared_step_ends_with_half_sums_a_gather_and_a_share_of_the_update(owners):
    layout, layers, rows = layout_of("1f1b", 2, barriers=1), [12, 12], [75_968, 75_968]
    setting = Setting(512, owners=owners)
    n = max(parameters_of(SHAPE, layout, layers, rows))
    rate = 0.8 * 450e9
    found = step_end(SHAPE, setting, H100, layout, layers, rows, owners)
    messages = sum(-(-n * size // 2**25) for size in (4, 2))
    wanted = (owners - 1) * (n * (4 + 2) / owners / rate + messages * 12e-6)
    assert found == pytest.approx(wanted + n * 2 * 18 / owners / (0.8 * 3.35e12), rel=0.05)
    assert found < step_end(SHAPE, Setting(512), H100, layout, layers, rows, owners)


def test_a_plan_that_shares_the_optimizer_fits_where_a_whole_one_does_not():
    shape = shape_of(read_spec(preset("llama3-8b") or {}))
    asked = Request(
        shape=shape,
        setting=Setting(2048),
        hardware=H100,
        ranks=4,
        microbatches=(16,),
        schedules=("1f1b",),
        barriers=(1,),
        limit=60 * GIB,
        replicas=(2,),
    )
    whole, shared, rounded = (
        make_plan(each).rows[0]
        for each in (
            asked,
            dataclasses.replace(asked, sharded=True),
            dataclasses.replace(asked, sharded=True, setting=Setting(2048, moments="bfloat16")),
        )
    )
    assert whole.status == "too large" and shared.status == rounded.status == "fits"
    parameters = parameters_of(shape, shared.candidate.layout, shared.candidate.layers, shared.candidate.rows)
    for rank, n in enumerate(parameters):
        assert shared.memory[rank].parts["optimizer"] == pytest.approx(n * 12 / 2)
        assert rounded.memory[rank].parts["optimizer"] == pytest.approx(n * 8 / 2)


def test_what_is_planned_is_what_is_written(tmp_path, capsys):
    out, plan = tmp_path / "run.toml", tmp_path / "plan.json"
    arguments = [
        "plan",
        "qwen2.5-0.5b",
        "--ranks",
        "4",
        "--replicas",
        "2",
        "--microbatches",
        "8",
        "--schedules",
        "1f1b",
    ]
    assert (
        cli([*arguments, "--sharded", "--moments", "bfloat16", "--write", str(out), "--json", str(plan)]) == 0
    )
    assert "the optimizer is shared out over replicas" in capsys.readouterr().out
    optimizer = load(out).optimizer
    assert optimizer.sharded and optimizer.moments == "bfloat16"
    found = json.loads(plan.read_text())
    assert found["sharded"] is True and found["moments"] == "bfloat16"
    assert cli(["plan", str(out), "--schedules", "1f1b", "--replicas", "2", "--json", str(plan)]) == 0
    again = json.loads(plan.read_text())
    assert again["sharded"] is True and again["moments"] == "bfloat16"
    assert cli([*arguments, "--write", str(out)]) == 0
    assert not load(out).optimizer.sharded and load(out).optimizer.moments == "master"
    other = tmp_path / "other.toml"
    given = ["plan", str(out), "--schedules", "1f1b", "--replicas", "2", "--sharded", "--write", str(other)]
    assert cli(given) == 0 and load(other).optimizer.sharded


@pytest.mark.parametrize("name", ["1f1b", "zbv", "interleaved-1f1b"])
@pytest.mark.parametrize("barriers", [0, 1])
@pytest.mark.parametrize("tied", [False, True])
def test_the_sums_of_a_rank_are_over_all_that_it_holds(name, barriers, tied):
    shape = dataclasses.replace(SHAPE, tied=tied)
    layout = layout_of(name, 3, barriers=barriers)
    layers = [3 + stage % 2 for stage in range(layout.last_stage + 1)]
    rows = [50_000, 50_000, 51_936]
    sums = [0.0] * 3
    for message in reductions_of(layout, tied=tied):
        sums[message.source] += group_parameters(shape, layout, layers, rows, message)
    held = parameters_of(shape, layout, layers, rows)
    if tied and not barriers and layout.first_rank != layout.last_rank:
        for rank in (layout.first_rank, layout.last_rank):  # summed over these two first
            held[rank] -= shape.vocabulary_parameters
    assert sums == pytest.approx(held)
