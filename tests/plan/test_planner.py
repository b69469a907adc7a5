"""The planner against simulating everything, and its command."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from pinisi.base.errors import ConfigError, ScheduleError
from pinisi.cli import main as cli
from pinisi.config import load
from pinisi.costs import (
    PRESETS,
    Rates,
    Setting,
    gpt_shape,
    model_flops,
    pass_costs,
    rank_memory,
    rows_for,
    step_end,
)
from pinisi.costs.overlap import sum_seconds
from pinisi.costs.pass_costs import sums_and_update
from pinisi.models import read_spec
from pinisi.plan.candidates import Request
from pinisi.plan.planner import Plan, make_plan, row_dict
from pinisi.plan.source import read_source
from pinisi.schedule import build, layout_of, lower, simulate
from pinisi.schedule.builders.build import names
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.simulate import step_seconds
from pinisi.schedule.search import lower_bound
from pinisi.train.planned import planned
from tests.models.tiny import tiny_config


def request(**changes) -> Request:
    given = {
        "shape": gpt_shape(1024, 19, 8, 60_013, 512),
        "setting": Setting(512, 1),
        "hardware": PRESETS["A100-80G"],
        "ranks": 4,
        "microbatches": (7, 12),
        "seconds": 300.0,
    }
    return Request(**{**given, **changes})


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(request())


def test_the_best_is_the_best_of_all(plan: Plan) -> None:
    best = plan.rows[0]
    assert best.status == "fits" and {row.candidate.name for row in plan.rows} == set(names())
    for row in plan.rows:
        c = row.candidate
        chunks = c.chunks if c.chunks > 2 else None
        try:
            schedule = build(c.name, 4, c.microbatches, chunks=chunks, barriers=c.barriers, costs=c.costs)
        except ScheduleError:
            assert (c.name, c.microbatches, row.status) == ("dualpipev", 7, "bounded")
            continue
        makespan = simulate(schedule, c.costs).makespan
        step = (
            makespan + c.bound - lower_bound(c.layout, c.microbatches, c.costs)
        )  # the optimizer's time besides
        assert c.microbatches * 512 / step <= best.tokens_per_second * (1 + 1e-9)
        if row.status == "fits":
            assert row.step == pytest.approx(step) and row.distance >= -1e-9


def test_rows_are_in_order_and_whole(plan: Plan) -> None:
    fits = [row for row in plan.rows if row.status == "fits"]
    assert fits == plan.rows[: len(fits)]
    assert [r.tokens_per_second for r in fits] == sorted((r.tokens_per_second for r in fits), reverse=True)
    for row in plan.rows:
        c = row.candidate
        assert sum(c.layers) == 19 and sum(c.rows) == 60_013 and len(c.layers) == c.layout.last_stage + 1
        json.dumps(row_dict(row))
    splits = {(row.candidate.split, row.candidate.rows_split, row.candidate.barriers) for row in plan.rows}
    assert {("even", "balanced", 1), ("best", "balanced", 2), ("best", "even", 0)} <= splits
    # a V has both ends on one rank, whose stages then hold fewer layers
    best = {
        row.candidate.layers
        for row in plan.rows
        if row.candidate.name == "zbv" and not row.candidate.barriers
    }
    assert any(layers[0] + layers[7] < 4 for layers in best)


@pytest.fixture(scope="module")
def replicated() -> Plan:
    return make_plan(request(ranks=4, replicas=(1, 2, 4), microbatches=(8, 10), schedules=("1f1b", "zb-h1")))


def test_replicas_share_ranks_and_microbatches(replicated: Plan) -> None:
    seen = set()
    for row in replicated.rows:
        c = row.candidate
        assert c.ranks * c.replicas == 4 == c.layout.ranks * c.replicas and c.whole_step in (8, 10)
        assert len(c.rows) == c.ranks and (row.status != "fits" or len(row.peaks) == c.ranks)
        seen.add((c.replicas, c.microbatches, c.name))
    assert {(1, 10, "zb-h1"), (2, 5, "1f1b"), (4, 2, "1f1b")} <= seen
    assert not {(4, 2, "zb-h1")} & seen  # one rank: all schedules do the same
    assert ("4 replicas", "they can't share 10 microbatches evenly") in replicated.refused
    data = row_dict(replicated.rows[0])
    assert data["ranks"] * data["replicas"] == 4
    assert data["microbatches"] * data["replicas"] == data["microbatches_of_step"]


def test_the_best_of_replicas_is_the_best(replicated: Plan) -> None:
    asked, best = replicated.request, replicated.rows[0]
    hardware = asked.hardware
    others = [make_plan(dataclasses.replace(asked, replicas=(d,))).rows[0] for d in (2, 4)]
    assert [row.status for row in others] == ["fits", "fits"]
    for row in [*replicated.rows, *others]:
        c = row.candidate
        schedule = build(c.name, c.ranks, c.microbatches, barriers=c.barriers, costs=c.costs)
        setting = dataclasses.replace(asked.setting, dense=not c.barriers)
        sizes = (asked.shape, setting, hardware, c.layout, c.layers, c.rows, c.replicas)
        program = (
            lower(schedule) if c.replicas == 1 else with_reductions(lower(schedule), tied=asked.shape.tied)
        )
        step = step_seconds(program, c.costs, sum_seconds(*sizes)) + sums_and_update(*sizes)[1]
        assert step <= simulate(schedule, c.costs).makespan + step_end(*sizes) + 1e-12
        tokens = c.whole_step * 512 / step
        assert tokens <= best.tokens_per_second * (1 + 3e-3)
        if row.status == "fits":
            flops = model_flops(asked.shape, setting) * c.whole_step / (4 * hardware.rate("bfloat16") * step)
            # a sum behind all passes has the latency of a message more or less than among them
            assert (row.step, row.mfu) == (pytest.approx(step, rel=3e-3), pytest.approx(flops, rel=3e-3))


def test_memory_decides_between_pipeline_and_replicas() -> None:
    shape = gpt_shape(1024, 8, 8, 503, 2048)
    free = make_plan(
        request(
            shape=shape, setting=Setting(2048, 4), replicas=(1, 2, 4), microbatches=(8,), schedules=("1f1b",)
        )
    )
    assert free.rows[0].candidate.replicas == 4  # no bubble, and little to sum beside so many tokens
    whole = 18 * free.request.shape.parameters
    tight = make_plan(dataclasses.replace(free.request, limit=0.9 * whole))
    assert tight.rows[0].status == "fits" and tight.rows[0].candidate.replicas < 4
    left_out = [row for row in tight.rows if row.candidate.replicas == 4]
    assert left_out and all(row.status == "too large" for row in left_out)


def test_vocabulary_passes_win_where_the_head_is_heavy() -> None:
    heavy = make_plan(
        request(shape=gpt_shape(1024, 16, 8, 250_007, 512), schedules=("1f1b",), microbatches=(16,))
    )
    assert heavy.rows[0].candidate.barriers > 0
    light = make_plan(
        request(shape=gpt_shape(1024, 16, 8, 503, 512), schedules=("1f1b",), microbatches=(16,))
    )
    assert light.rows[0].candidate.barriers == 0


def test_a_limit_moves_to_less_memory_then_to_recomputation() -> None:
    asked = request(shape=gpt_shape(2048, 16, 16, 30_011, 2048), setting=Setting(2048, 4), microbatches=(16,))
    free = make_plan(asked)
    most = max(free.rows[0].peaks)
    least = min(max(r.peaks) for r in free.rows if r.memory and not r.candidate.recompute)
    tight = make_plan(request(**{**vars(asked), "limit": least * 1.001}))
    assert 0 < max(tight.rows[0].peaks) <= least * 1.001 < most
    too_large = [row for row in tight.rows if row.status == "too large"]
    assert too_large and all("rank" in row.why and "GiB" in row.why for row in too_large)
    less = make_plan(request(**{**vars(asked), "limit": least * 0.8}))
    assert less.rows[0].candidate.recompute and max(less.rows[0].peaks) <= least * 0.8
    none = make_plan(request(**{**vars(asked), "limit": 1e8}))
    assert all(row.status != "fits" for row in none.rows)


def test_what_is_left_out_unsimulated_does_not_fit() -> None:
    asked = request(setting=Setting(512, 8), microbatches=(8,))
    free = make_plan(dataclasses.replace(asked, limit=None, seconds=300.0))
    peaks = sorted(max(row.peaks) for row in free.rows if row.memory)
    tight = dataclasses.replace(asked, limit=peaks[len(peaks) // 2])
    left_out = [row for row in make_plan(tight).rows if row.status == "too large" and not row.memory]
    assert left_out
    close = []
    for row in left_out:
        c = row.candidate
        schedule = build(
            c.name, 4, 8, chunks=c.chunks if c.chunks > 2 else None, barriers=c.barriers, costs=c.costs
        )
        timeline = simulate(schedule, c.costs)
        memory = rank_memory(asked.shape, asked.setting, asked.hardware, timeline, c.layers, c.rows)
        said = float(row.why.split("at least ")[1].split()[0]) * 2**30
        assert max(m.peak for m in memory) > tight.room and said > tight.room * 0.99
        close.append(said / max(m.peak for m in memory))
    assert min(close) > 0.5 and max(close) <= 1.0


def test_what_cannot_be_built_is_said() -> None:
    found = make_plan(request(shape=gpt_shape(256, 5, 4, 1009, 64), setting=Setting(64)))
    assert any("too few for 8 stages" in why for _, why in found.refused)
    with pytest.raises(ConfigError, match="nothing can be planned for 4 ranks: 3 layers are too few"):
        make_plan(request(shape=gpt_shape(256, 3, 4, 1009, 64)))


def test_time_is_kept() -> None:
    found = make_plan(request(seconds=1e-6))
    assert found.rows[0].status == "fits"
    assert any(row.status == "not simulated" for row in found.rows)


@pytest.fixture
def config_json(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(tiny_config("qwen2", vocab_size=5003, num_hidden_layers=9)))
    return path


def test_the_written_configuration_is_what_train_takes(tmp_path, config_json, capsys) -> None:
    out, plan_json = tmp_path / "run.toml", tmp_path / "plan.json"
    arguments = ["plan", str(config_json), "--ranks", "2", "--microbatches", "5", "--sequence", "32"]
    assert cli([*arguments, "--write", str(out), "--json", str(plan_json), "--hardware", "H200"]) == 0
    printed = capsys.readouterr().out
    assert "tokens/s" in printed and f"written: {out}" in printed
    rows = json.loads(plan_json.read_text())["rows"]
    config = load(out)
    best = rows[0]
    assert (config.pipeline.name, config.pipeline.barriers) == (best["schedule"], best["barriers"])
    assert config.pipeline.layers == best["layers"] and config.data.sequence == 32
    schedule, layers, shards = planned(config, read_spec(config.model.config))
    assert schedule.name == best["schedule"] and [len(r) for r in layers] == best["layers"]
    if best["barriers"]:
        assert [shards.size(r) for r in range(2)] == best["rows"]
    # uneven rows are written as they are, on two ranks too
    arguments += ["--schedules", "1f1b", "--json", str(plan_json), "--hardware", "H200", "--replicas", "1"]
    assert cli(arguments) == 0
    rows = json.loads(plan_json.read_text())["rows"]
    capsys.readouterr()
    for number, row in enumerate(rows, 1):
        assert cli([*arguments, "--explain", str(number), "--write", str(out)]) == 0
        _, layers, shards = planned(load(out), read_spec(config.model.config))
        assert [len(r) for r in layers] == row["layers"]
        assert not row["barriers"] or [shards.size(r) for r in range(2)] == row["rows"]
    assert any(row["rows_split"] == "balanced" for row in rows)
    # a plan for that file keeps all but the schedule
    again = tmp_path / "again.toml"
    assert cli(["plan", str(out), "--ranks", "3", "--explain", "1", "--write", str(again)]) == 0
    assert "layers per stage" in capsys.readouterr().out
    second = load(again)
    assert second.pipeline.ranks == 3 and second.pipeline.microbatches == 5
    assert config.pipeline.data_parallel == second.pipeline.data_parallel == 1
    assert second.data == config.data and second.optimizer == config.optimizer


def test_pages_and_traces_show_the_rows(tmp_path, config_json, capsys) -> None:
    page, perfetto = tmp_path / "plan.html", tmp_path / "plan.json"
    arguments = ["plan", str(config_json), "--ranks", "2", "--microbatches", "5", "--sequence", "32"]
    assert cli([*arguments, "--html", str(page), "--trace", str(perfetto)]) == 0
    first = capsys.readouterr().out.split("\n  1  ")[1].split()[0]
    assert f"1: {first}" in page.read_text() and "peak memory" in page.read_text()
    events = json.loads(perfetto.read_text())["traceEvents"]
    assert {event["ph"] for event in events} >= {"X", "C"}


def test_presets_and_limits_on_the_command_line(capsys) -> None:
    arguments = [
        "plan",
        "Sailor2-1B",
        "--ranks",
        "2",
        "--microbatches",
        "4",
        "--schedules",
        "gpipe,1f1b",
        "--hardware",
        "A100-80G",
    ]
    assert cli(arguments) == 0
    assert "0.99B parameters" in capsys.readouterr().out
    assert cli([*arguments, "--memory-limit", "0.5"]) == 1
    printed = capsys.readouterr().out
    assert "nothing fits" in printed and "of 0.5" in printed


@pytest.mark.parametrize(("given", "planned_for"), [("0", {0}), ("1,2", {1, 2}), ("2", {2})])
def test_barriers_on_the_command_line(tmp_path, config_json, given, planned_for) -> None:
    out, plan_json = tmp_path / "run.toml", tmp_path / "plan.json"
    arguments = ["plan", str(config_json), "--ranks", "3", "--replicas", "1", "--barriers", given]
    assert cli([*arguments, "--schedules", "1f1b,zbv", "--json", str(plan_json), "--write", str(out)]) == 0
    rows = json.loads(plan_json.read_text())["rows"]
    assert {row["barriers"] for row in rows} == planned_for and {row["schedule"] for row in rows} == {
        "1f1b",
        "zbv",
    }
    assert load(out).pipeline.barriers == rows[0]["barriers"]


@pytest.mark.parametrize("given", ["", "3", "0,", "one", "0;1"])
def test_other_barriers_are_refused(config_json, capsys, given) -> None:
    with pytest.raises(SystemExit):
        cli(["plan", str(config_json), "--ranks", "2", "--barriers", given])
    assert "give some of 0, 1 and 2" in capsys.readouterr().err


def test_replicas_on_the_command_line(tmp_path, config_json, capsys) -> None:
    out, plan_json = tmp_path / "run.toml", tmp_path / "plan.json"
    arguments = ["plan", str(config_json), "--ranks", "6", "--sequence", "32", "--schedules", "1f1b"]
    assert cli([*arguments, "--json", str(plan_json)]) == 0
    # 9 layers: pipelines of 1, 2, 3 and 6; 24 and 48 microbatches
    assert {row["replicas"] for row in json.loads(plan_json.read_text())["rows"]} == {1, 2, 3, 6}
    assert cli([*arguments, "--replicas", "2", "--microbatches", "8", "--write", str(out)]) == 0
    assert "3x2" in capsys.readouterr().out
    written = load(out).pipeline
    assert (written.ranks, written.data_parallel, written.microbatches) == (3, 2, 4)
    # of a TOML all its ranks, and its whole step
    assert cli(["plan", str(out), "--schedules", "1f1b", "--json", str(plan_json)]) == 0
    again = json.loads(plan_json.read_text())
    assert again["ranks"] == 6 and {row["microbatches_of_step"] for row in again["rows"]} == {8}
    page = tmp_path / "plan.html"
    assert cli(["plan", str(out), "--schedules", "1f1b", "--replicas", "2", "--html", str(page)]) == 0
    assert "ranks x replicas" in page.read_text() and "2 replicas" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no TOML file, config.json, model folder or preset"),
        (["qwen3-8b"], "how many ranks"),
        (["sailor2-1b", "--ranks", "2", "--hardware", "V100"], "neither a preset"),
        (["sailor2-1b", "--ranks", "2", "--schedules", "2f2b"], "2f2b"),
        (["sailor2-1b", "--ranks", "400", "--replicas", "1"], "too few"),
        (["sailor2-1b", "--ranks", "6", "--replicas", "4"], r"choose of [1, 2, 3, 6]"),
        (["sailor2-1b", "--ranks", "2", "--schedules", "gpipe", "--explain", "99"], "rows are 1 to"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], message: str, capsys) -> None:
    assert cli(["plan", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "barriers", "layers", "vocabulary", "m"),
    [
        ("1f1b", 1, 8, 60_013, 9),
        ("1f1b", 2, 10, 30_011, 12),
        ("zb-h1", 1, 7, 90_001, 6),
        ("1f1b", 1, 8, 8009, 9),
    ],
)
def test_no_split_of_layers_is_much_better(
    name: str, barriers: int, layers: int, vocabulary: int, m: int
) -> None:
    """All contiguous splits, the rows evening out each, simulated."""
    asked = request(shape=gpt_shape(1024, layers, 8, vocabulary, 512), setting=Setting(512, 4), ranks=3)
    asked = dataclasses.replace(asked, microbatches=(m,), schedules=(name,))
    layout = layout_of(name, 3, barriers=barriers)
    setting = dataclasses.replace(asked.setting, late_head=False)
    rates = Rates(asked.shape, setting, asked.hardware)
    best = float("inf")
    for first, second in itertools.product(range(1, layers - 1), repeat=2):
        sizes = [first, second, layers - first - second]
        if min(sizes) < 1:
            continue
        rows = rows_for(
            [n * sum(rates.layer()) for n in sizes], sum(rates.head(vocabulary, barriers)), vocabulary
        )
        costs = pass_costs(asked.shape, setting, asked.hardware, layout, sizes, rows)
        best = min(best, simulate(build(name, 3, m, barriers=barriers, costs=costs), costs).makespan)
    rows = [row for row in make_plan(asked).rows if row.candidate.barriers == barriers and row.timeline]
    found = min(row.timeline.makespan for row in rows if row.timeline)
    assert found <= best * 1.03


def test_what_the_head_keeps_is_planned_and_written(tmp_path, config_json, capsys) -> None:
    out = tmp_path / "run.toml"
    arguments = [
        "plan",
        str(config_json),
        "--ranks",
        "3",
        "--replicas",
        "1",
        "--sequence",
        "256",
        "--explain",
        "1",
    ]
    arguments += ["--schedules", "1f1b", "--write", str(out)]
    for text, budget in (("keep", None), ("recompute", 0), ("96 KiB", 96 * 2**10), ("1.5 MiB", 3 * 2**19)):
        assert cli([*arguments, "--head-memory", text]) == 0
        assert load(out).memory.head_budget == budget
    assert cli(["plan", str(out), "--ranks", "3", "--explain", "1", "--write", str(out)]) == 0
    assert load(out).memory.head == "1536 KiB"
    assert cli([*arguments, "--head-memory", "1 GB"]) != 0
    assert "--head-memory '1 GB': needed keep, recompute, or a size" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[1]", '"llama3-8b"', "3", "null"])
def test_a_config_that_is_no_table_is_named(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json holds a \w+; it must hold one JSON object"):
        read_source(str(tmp_path / "config.json"))
