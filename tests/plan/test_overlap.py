"""Sums of gradients beside passes, against the simulator's program with its sums; pipelines and the borders of nodes."""

from __future__ import annotations

import dataclasses
import random

import pytest

from pinisi.costs import PRESETS, Setting, pass_costs, shape_of, step_end
from pinisi.costs.overlap import step_with_sums, sum_seconds
from pinisi.costs.pass_costs import sums_and_update
from pinisi.costs.presets import preset
from pinisi.costs.split import even_layers
from pinisi.models import read_spec
from pinisi.parallel.mesh import grid_of
from pinisi.plan.advice import other_attention
from pinisi.plan.planner import make_plan
from pinisi.schedule import build, layout_of, lower, names, simulate
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.simulate import step_seconds
from tests.effort import only_full
from tests.plan.test_planner import request

SHAPE = shape_of(read_spec(preset("qwen2.5-0.5b") or {}))
SLOW = dataclasses.replace(PRESETS["H100"], link=2e9, network=2e9)  # so that sums are long beside passes


def drawn(name: str, draw: random.Random) -> tuple:
    """A case: sizes, costs and the schedule."""
    ranks, replicas = draw.choice((2, 3, 4)), draw.choice((2, 3))
    barriers = draw.choice((1, 2) if name == "interlaced" else (0, 1, 2))
    shape = dataclasses.replace(SHAPE, tied=draw.random() < 0.5)
    setting = Setting(draw.choice((256, 1024)), owners=draw.choice((1, replicas)))
    layout = layout_of(name, ranks, barriers=barriers)
    layers = even_layers(shape.layers, layout.last_stage + 1)
    rows = [shape.vocabulary // ranks + (rank < shape.vocabulary % ranks) for rank in range(ranks)]
    sizes = (shape, setting, SLOW, layout, layers, rows)
    costs = pass_costs(*sizes, replicas=replicas)
    return sizes, replicas, costs, build(name, ranks, 2 * ranks, barriers=barriers, costs=costs)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("seed", range(4))
def test_a_step_with_sums_is_what_the_program_with_its_sums_takes(name, seed):
    sizes, replicas, costs, schedule = drawn(name, random.Random(f"{name} {seed}"))
    shape, setting, hardware, _, layers, rows = sizes
    timeline = simulate(schedule, costs)
    found = step_with_sums(shape, setting, hardware, timeline, layers, rows, replicas)
    seconds = sum_seconds(*sizes, replicas)
    program = with_reductions(lower(schedule), tied=shape.tied)
    totals, update = sums_and_update(*sizes, replicas)
    behind = [total - sum(s for m, s in seconds.items() if m.source == r) for r, total in enumerate(totals)]
    wanted = step_seconds(program, costs, seconds) + update
    if max(behind) < 1e-3 * wanted:  # nothing comes behind the sums but what rounding of messages makes
        assert found == pytest.approx(wanted, rel=2e-3)
    assert wanted - 1e-9 <= found * (1 + 2e-3) and found <= wanted + max(behind) + 1e-9
    assert found <= timeline.makespan + step_end(*sizes, replicas) + 1e-9
    assert found >= timeline.makespan + update


def test_only_schedules_with_early_stages_hide_sums():
    """1F1B's one stage a rank is whole at its end; of interleaved stages the later ones are early."""
    gains = {}
    for name in ("1f1b", "interleaved-1f1b"):
        layout = layout_of(name, 4, barriers=1)
        layers = even_layers(SHAPE.layers, layout.last_stage + 1)
        rows = [SHAPE.vocabulary // 4] * 4
        sizes = (SHAPE, Setting(1024), SLOW, layout, layers, rows)
        costs = pass_costs(*sizes, replicas=2)
        timeline = simulate(build(name, 4, 16, barriers=1, costs=costs), costs)
        late = timeline.makespan + step_end(*sizes, 2)
        gains[name] = 1 - step_with_sums(*sizes[:3], timeline, layers, rows, 2) / late
    assert gains["interleaved-1f1b"] > 2 * gains["1f1b"] >= 0


@pytest.mark.parametrize("seed", range(30))
def test_messages_are_slow_where_a_pipeline_crosses_nodes_and_nowhere_else(seed):
    draw = random.Random(seed)
    ranks, replicas, per_node = draw.randint(2, 9), draw.randint(1, 5), draw.choice((2, 4, 8))
    hardware = dataclasses.replace(PRESETS["H100"], per_node=per_node)
    layout = layout_of("1f1b", ranks, barriers=1)
    layers = even_layers(SHAPE.layers, ranks)
    costs = pass_costs(SHAPE, Setting(512), hardware, layout, layers, [1000] * ranks, replicas=replicas)
    lines = grid_of({"pipeline": ranks}, ranks * replicas).lines("pipeline")
    crossing = [
        len({line[r] // per_node, line[r + 1] // per_node}) > 1 for line in lines for r in range(ranks - 1)
    ]
    slow = [any(crossing[k * (ranks - 1) + r] for k in range(replicas)) for r in range(ranks - 1)]
    near, far = (min(costs.p2p), max(costs.p2p)) if any(slow) and not all(slow) else (None, None)
    for r, is_slow in enumerate(slow):
        if near is not None:
            assert costs.p2p[r] == (far if is_slow else near)
    # no more pipelines stand on several nodes than there are borders that no pipeline's end falls on
    split = sum(len({rank // per_node for rank in line}) > 1 for line in lines)
    borders = [n for n in range(per_node, ranks * replicas, per_node) if n % ranks]
    assert split <= len(borders)
    if per_node % ranks == 0:
        assert split == 0


@pytest.mark.parametrize("nodes", [2, pytest.param(4, marks=only_full)])
def test_with_a_slow_network_the_best_plan_keeps_pipelines_inside_nodes(nodes):
    hardware = dataclasses.replace(PRESETS["H100"], per_node=4, network=1e9)
    asked = request(
        shape=SHAPE,
        setting=Setting(4096),
        hardware=hardware,
        ranks=4 * nodes,
        replicas=(1, nodes),
        microbatches=(128,),
        schedules=("1f1b",),
        barriers=(1,),
        seconds=30.0,
    )
    rows = [row for row in make_plan(asked).rows if row.status == "fits"]
    whole = [row for row in rows if row.candidate.ranks <= 4]
    assert whole, "no way inside a node was tried"
    cut = [row for row in rows if row.candidate.ranks > 4]
    assert max(row.tokens_per_second for row in whole) > max((r.tokens_per_second for r in cut), default=0.0)


def test_the_best_row_is_compared_with_the_other_attention():
    few = {"ranks": 2, "schedules": ("1f1b",), "microbatches": (8,)}
    asked = request(shape=SHAPE, setting=Setting(4096), hardware=PRESETS["H100"], **few)
    dense = other_attention(make_plan(asked))
    assert "'varlen' in place of 'dense'" in dense and "(+" in dense
    fused = dataclasses.replace(asked, setting=Setting(4096, attention="varlen"))
    assert "'dense' in place of 'varlen'" in other_attention(make_plan(fused))
    alone = dataclasses.replace(asked, setting=Setting(4096, masked=False))
    assert other_attention(make_plan(alone)) == ""
