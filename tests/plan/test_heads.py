"""Extra heads in the planner: their layers, logits and bytes, and where the model's layers go then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinisi.base.errors import ConfigError
from pinisi.cli import main
from pinisi.config import load
from pinisi.costs import (
    PRESETS,
    Setting,
    gpt_shape,
    head_layers,
    kept,
    model_flops,
    parameters_of,
    pass_costs,
    placed_layers,
    rank_memory,
    rows_for,
    shape_of,
    step_end,
)
from pinisi.models import RandomWeights, build_stage, parameter_shapes, read_spec, with_extra_heads
from pinisi.plan.candidates import Request, candidates
from pinisi.plan.source import read_source
from pinisi.schedule import build, layout_of, simulate
from pinisi.train.planned import planned, work_costs
from pinisi.vocabulary import Shards
from tests.engine.runs import CONFIG
from tests.models.tiny import tiny_config
from tests.plan.test_split import all_splits

A100 = PRESETS["A100-80G"]


def sizes(name: str, barriers: int, heads: int, p: int = 4):
    shape = replace(gpt_shape(1024, 4 * p, 8, 100_003, 512), extra_heads=heads)
    layout = layout_of(name, p, barriers=barriers)
    layers = [4 * p // (layout.last_stage + 1)] * (layout.last_stage + 1)
    return shape, Setting(512, 2, masked=False), layout, layers, rows_for([1.0] * p, 1.0, 100_003)


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", ["1f1b", "v-half"])
def test_passes_hold_the_layers_and_the_logits_of_each_head(name: str, barriers: int) -> None:
    """The last stage's passes grow by D layers, S and T (or the undivided head) D + 1 times, nothing else."""
    for heads in (1, 3):
        shape, setting, layout, layers, rows = sizes(name, barriers, 0)
        more = replace(shape, extra_heads=heads)
        a, b = (pass_costs(s, setting, A100, layout, layers, rows) for s in (shape, more))
        plain, headed = a.table(layout), b.table(layout)
        n = layers[-1]
        fixed = 24 * A100.efficiency.kernel * 1.1  # a pass' kernels are launched once
        for (kind, part), seconds in headed.items():
            before = plain[kind, part]
            if kind in ("S", "T") and barriers:
                assert before < seconds <= (heads + 1) * before
                assert seconds == pytest.approx((heads + 1) * before, abs=heads * fixed)
            elif part == layout.last_stage and kind in ("F", "B", "W", "BW"):
                if barriers:
                    assert seconds == pytest.approx(before * (n + heads) / n)
                else:
                    assert seconds > before * (n + heads) / n or kind == "W"
            else:
                assert seconds == before
        if barriers:
            assert b.slowest("c0") > a.slowest("c0") and b.slowest("p2p") == a.slowest("p2p")


@pytest.mark.parametrize("heads", [1, 3])
def test_work_parameters_and_head_are_counted(heads: int) -> None:
    base = read_spec(tiny_config("qwen2", num_hidden_layers=7, vocab_size=1013))
    spec, setting = with_extra_heads(base, heads), Setting(48)
    shape, plain = shape_of(spec), shape_of(base)
    assert head_layers(shape, setting) == pytest.approx((heads + 1) * head_layers(plain, setting))
    layout = layout_of("1f1b", 3, barriers=1)
    whole = sum(s.numel() for s in parameter_shapes(spec).values())
    stage = build_stage(spec, range(6, 7), RandomWeights(spec, 0), extra_heads=True)
    whole += sum(p.numel() for n, p in stage.named_parameters() if n.startswith("extra_heads."))
    rows = [338, 338, 337]
    assert sum(parameters_of(shape, layout, [3, 3, 1], rows)) == whole == shape.parameters
    layers = [range(0, 3), range(3, 6), range(6, 7)]
    costs = work_costs(spec, layout, layers, Shards.even(1013, 3), 48)
    shorter = shape_of(read_spec(tiny_config("qwen2", num_hidden_layers=6, vocab_size=1013)))
    layer = model_flops(plain, setting) - model_flops(shorter, setting)
    small = 3 * 2 * costs.at("embedding_forward", 0)
    assert sum(costs.work(layout)) == pytest.approx(3 * model_flops(shape, setting) / layer + small)


@pytest.mark.parametrize("barriers", [0, 1])
def test_memory_of_the_last_rank_grows_by_its_heads(barriers: int) -> None:
    shape, setting, layout, layers, rows = sizes("1f1b", barriers, 0)
    more = replace(shape, extra_heads=2)
    found = []
    for each in (shape, more):
        costs = pass_costs(each, setting, A100, layout, layers, rows)
        timeline = simulate(build("1f1b", 4, 9, barriers=barriers, costs=costs), costs)
        found.append(rank_memory(each, setting, A100, timeline, layers, rows))
    before, after = ([m.parts for m in each] for each in found)
    held = 2 * shape.layer_parameters
    assert after[3]["weights"] - before[3]["weights"] == held * setting.element
    assert after[3]["optimizer"] - before[3]["optimizer"] == held * setting.state
    assert after[0]["weights"] == before[0]["weights"]
    layer = sum(kept(shape, setting).values())
    working = 7 * setting.tokens * shape.hidden * setting.element  # of a backward, if it had the peak
    assert after[3]["activations"] - before[3]["activations"] >= 2 * layer - working
    part = "vocabulary" if barriers else "logits"
    assert after[3][part] >= 2.5 * before[3][part]
    ends = [step_end(s, setting, A100, layout, layers, rows, replicas=2) for s in (shape, more)]
    assert ends[1] > ends[0]


@pytest.mark.parametrize(("name", "ranks"), [("1f1b", 3), ("v-half", 2), ("interleaved-1f1b", 2)])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("undivided", [0.0, 2.3])
def test_no_split_beside_heads_is_better(name: str, ranks: int, heads: int, undivided: float) -> None:
    placement = layout_of(name, ranks).stages
    stages = sum(map(len, placement))
    extra = {0: 0.4, stages - 1: undivided} if undivided else {}

    def loads(split) -> list[float]:
        work = [n * 0.7 + extra.get(s, 0.0) for s, n in enumerate(split)]
        work[-1] += heads * 0.7
        return [sum(work[s] for s in held) for held in placement]

    found = placed_layers(stages + 4, placement, 0.7, extra, heads)
    every = [s for s in all_splits(stages + 4, stages) if s[-1] and (undivided or all(s))]
    assert found in every
    assert max(loads(found)) == pytest.approx(min(max(loads(s)) for s in every))


def test_a_run_takes_layers_off_the_last_stage(tmp_path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    config = load(path, ["model.config.num_hidden_layers=9", "loss.extra_heads=3", "pipeline.rows=balanced"])
    spec = with_extra_heads(read_spec(config.model.config), 3)
    schedule, layers, rows = planned(config, spec)
    assert [len(r) for r in layers] == [6, 3]
    assert abs(rows.size(0) - rows.size(1)) <= 1
    assert schedule.layout.ranks == 2
    with pytest.raises(ConfigError, match="end with at least 1"):
        planned(load(path, ["pipeline.layers=[4, 0]"]), spec)


def test_plans_with_barriers_balance_what_redistribution_cannot() -> None:
    """V = 256k, 8 ranks, 32 layers, 3 extra heads: the busiest rank against the mean."""
    shape = replace(gpt_shape(3072, 32, 24, 256_000, 2048), extra_heads=3)
    request = Request(shape, Setting(2048), A100, 8, (16,), schedules=("1f1b",))
    best: dict[int, float] = {}
    for c in candidates(request, []):
        work = c.costs.work(c.layout)
        best[c.barriers] = max(best.get(c.barriers, 0.0), sum(work) / len(work) / max(work))
    assert best[0] < 0.3
    assert min(best[1], best[2]) > 0.985


def test_plan_of_a_preset_with_heads_writes_a_run_that_has_them(tmp_path, capsys) -> None:
    options = ["--ranks", "4", "--extra-heads", "2", "--microbatches", "8", "--replicas", "1"]
    more = ["--schedules", "1f1b", "--write", str(tmp_path / "run.toml")]
    assert main(["plan", "qwen2.5-0.5b", *options, *more]) == 0
    assert "24 layers, 2 extra heads," in capsys.readouterr().out
    config = load(tmp_path / "run.toml")
    assert config.loss.extra_heads == 2 and sum(config.pipeline.layers) == 24 and config.pipeline.layers[-1]
    source = read_source(str(tmp_path / "run.toml"))
    assert source.spec.extra_heads == 2 and read_source(str(tmp_path / "run.toml"), 0).spec.extra_heads == 0
