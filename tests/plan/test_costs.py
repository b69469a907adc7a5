"""Seconds from a hardware's description, and bytes over a step."""

from __future__ import annotations

import dataclasses

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.costs import (
    PRESETS,
    Rates,
    Setting,
    all_reduce,
    gpt_shape,
    kept,
    mfu,
    pass_costs,
    rank_memory,
    rows_for,
    shape_of,
    step_end,
)
from pinisi.costs.memory import parameters_of
from pinisi.models import parameter_shapes, read_spec
from pinisi.schedule import Kind, build, layout_of, simulate
from pinisi.schedule.builders.build import names
from pinisi.schedule.search import lower_bound
from tests.models.tiny import tiny_config

A100 = PRESETS["A100-80G"]
MEGATRON = Setting(2048, 1, "float16", masked=False, dense=True, gradient=2.0, state=12.0)


@pytest.mark.parametrize(
    ("vocabulary", "head_forward", "head_backward"),
    # Milliseconds of the last rank's F and B less an inner rank's: the artifact of arXiv 2411.05288, baseline
    [(256_000, 26.4, 31.4), (128_000, 13.7, 16.6), (64_000, 7.2, 8.6)],
)
def test_pass_times_are_near_the_published_profile(
    vocabulary: int, head_forward: float, head_backward: float
) -> None:
    rates = Rates(gpt_shape(3072, 32, 24, vocabulary, 2048), MEGATRON, A100)
    forward, backward, weight = rates.layer()
    assert 4e3 * forward == pytest.approx(10.6, rel=0.06)
    assert 4e3 * (backward + weight) == pytest.approx(21.2, rel=0.06)
    f, b, w = rates.undivided_head()
    assert 1e3 * f == pytest.approx(head_forward, rel=0.1)
    assert 1e3 * (b + w) == pytest.approx(head_backward, rel=0.12)


@pytest.mark.parametrize(
    ("vocabulary", "both"), [(256_000, 8.38), (128_000, 4.56)]
)  # the same, S + T of one of 8 ranks
def test_shards_are_near_the_published_profile(vocabulary: int, both: float) -> None:
    rates = Rates(gpt_shape(3072, 32, 24, vocabulary, 2048), MEGATRON, A100)
    for barriers in (1, 2):
        busy = 1e3 * (1 + A100.efficiency.contention) * sum(rates.head(vocabulary // 8, barriers))
        assert busy == pytest.approx(both, rel=0.13)
    one, two = rates.head(32_000, 1), rates.head(32_000, 2)
    assert one[0] > one[1] and two[0] < one[0] and two[1] > one[1]


def case(name: str, barriers: int, p: int = 4, m: int = 11, **changes):
    shape = gpt_shape(1024, 4 * p, 8, 100_003, 512)
    setting = Setting(512, 2, **{"masked": False, **changes})
    layout = layout_of(name, p, barriers=barriers)
    stages = layout.last_stage + 1
    layers = [4 * p // stages] * stages
    rows = rows_for([1.0] * p, 1.0, shape.vocabulary)
    costs = pass_costs(shape, setting, A100, layout, layers, rows)
    timeline = simulate(build(name, p, m, barriers=barriers, costs=costs), costs)
    return shape, setting, layout, layers, rows, costs, timeline


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", names())
def test_no_step_is_below_the_bound(name: str, barriers: int) -> None:
    try:
        *_, layout, _, _, costs, timeline = case(name, barriers)
    except ScheduleError as error:
        assert name == "interlaced" and barriers == 0, error
        return
    least = lower_bound(layout, 11, costs)
    assert least <= timeline.makespan * (1 + 1e-9)
    assert least >= 11 * costs.busiest(layout)


def test_mfu_is_one_at_the_peak() -> None:
    shape, setting, *_ = case("1f1b", 0)
    flops = 3 * (16 * (24 * 1024 * 1024**2 + 4 * 1024 * 512 * 1024) + 2 * 1024 * 1024 * 100_003)
    assert mfu(shape, setting, 7, 4, 7 * flops / (4 * 312e12), 312e12) == pytest.approx(1.0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("barriers", [0, 1])
@pytest.mark.parametrize("name", ["1f1b", "v-half"])
def test_parameters_by_rank(name: str, barriers: int, tied: bool) -> None:
    spec = read_spec(tiny_config("qwen2", tie_word_embeddings=tied))
    shape, layout = shape_of(spec), layout_of(name, 2, barriers=barriers)
    layers = [2, 2] if name == "1f1b" else [1, 1, 1, 1]
    held = parameters_of(shape, layout, layers, [505, 504])
    whole = sum(s.numel() for s in parameter_shapes(spec).values())
    copies = spec.vocabulary * spec.hidden if tied and not barriers and name == "1f1b" else 0
    assert sum(held) == whole + copies
    if barriers:
        assert held[0] - held[1] == (1 if tied else 2) * spec.hidden + (
            -spec.hidden if name == "1f1b" else spec.hidden
        )


@pytest.mark.parametrize("name", ["gpipe", "1f1b"])
def test_peak_activations_are_the_closed_form(name: str) -> None:
    shape, setting, _layout, layers, rows, _costs, timeline = case(name, 0)
    memory = rank_memory(shape, setting, A100, timeline, layers, rows)
    layer = sum(kept(shape, setting).values())
    t, h, e = setting.tokens, shape.hidden, setting.element
    for rank in (1, 2):  # the ends have more
        alive = 11 if name == "gpipe" else 4 - rank
        assert memory[rank].parts["activations"] == pytest.approx(
            alive * (4 * layer + t * h * e) + 7 * t * h * e
        )
        assert memory[rank].parts["weights"] == 4 * (12 * h * h + 13 * h) * 2
        assert memory[rank].parts["optimizer"] == 6 * memory[rank].parts["weights"]


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", ["1f1b", "v-half", "zb-h1"])
def test_curve_against_counting_at_moments(name: str, barriers: int) -> None:
    shape, setting, layout, layers, rows, _costs, timeline = case(name, barriers)
    memory = rank_memory(shape, setting, A100, timeline, layers, rows)
    layer = sum(kept(shape, setting).values())
    t, h, e = setting.tokens, shape.hidden, setting.element
    for rank, found in enumerate(memory):
        base = sum(
            size for part, size in found.parts.items() if part not in ("activations", "logits", "vocabulary")
        )
        assert found.peak == pytest.approx(max(size for _, size in found.curve))
        assert found.curve[-1][1] == pytest.approx(base)  # all is given back
        spans = timeline.spans[rank]
        time = (spans[len(spans) // 2].start + spans[len(spans) // 2].end) / 2
        # what is alive then, by hand
        alive = running = 0.0
        for stage in layout.stages[rank]:
            for i in range(11):
                mine = [
                    s
                    for s in spans
                    if s.pass_.part == stage and s.pass_.microbatch == i and s.pass_.kind in "FBWBW"
                ]
                if min(s.start for s in mine) <= time < max(s.end for s in mine):
                    alive += (
                        layers[stage] * layer
                        + t * h * e
                        + (t * h * (4 + e) if stage == layout.last_stage else 0)
                    )
                    alive += 4 * t * shape.vocabulary if stage == layout.last_stage and not barriers else 0
        for span in spans:
            if not span.start <= time < span.end:
                continue
            kind, part, _ = span.pass_
            running += 7 * t * h * e if kind in ("B", "W", "BW") else 0
            running += (6 - e) * t * rows[rank] if kind in ("S", "T") else 0
            if not barriers and part == layout.last_stage and kind != Kind.W:
                running += (
                    4 * t * shape.vocabulary
                    if kind == "F"
                    else 2 * t * shape.vocabulary + e * h * shape.vocabulary
                )
        if barriers:
            for i in range(11):
                (s,) = (x for x in spans if x.pass_.kind == "S" and x.pass_.microbatch == i)
                (last,) = (x for x in spans if x.pass_.kind == "T" and x.pass_.microbatch == i)
                if s.start <= time < last.end:
                    alive += e * t * rows[rank] + t * h * (e + (4 if barriers == 1 else 0))
        value = [size for at, size in found.curve if at <= time][-1]
        assert value - base == pytest.approx(alive + running), rank


def test_recomputation_trades_memory_for_time() -> None:
    shape, setting, _, layers, rows, costs, timeline = case("1f1b", 1)
    plain = max(m.parts["activations"] for m in rank_memory(shape, setting, A100, timeline, layers, rows))
    shape, setting, _layout, layers, rows, again, timeline = case("1f1b", 1, recompute=True)
    less = max(m.parts["activations"] for m in rank_memory(shape, setting, A100, timeline, layers, rows))
    assert less < plain / 3
    assert again.at("backward", 0) == pytest.approx(costs.at("backward", 0) + costs.at("forward", 0))


@pytest.mark.parametrize("barriers", [1, 2])
def test_a_heads_budget_trades_memory_for_a_fourth_product_in_t(barriers: int) -> None:
    shape = gpt_shape(3072, 32, 24, 256_000, 2048)
    rows, rates, memory = 32_000, {}, {}
    for budget in (None, 2**40, 48 * 2**20, 0):
        setting = dataclasses.replace(MEGATRON, head_budget=budget)
        rates[budget] = Rates(shape, setting, A100).head(rows, barriers)
        layout = layout_of("1f1b", 8, barriers=barriers)
        schedule = build("1f1b", 8, 16, barriers=barriers)
        costs = pass_costs(shape, setting, A100, layout, [4] * 8, [rows] * 8)
        timeline = simulate(schedule, costs)
        found = rank_memory(shape, setting, A100, timeline, [4] * 8, [rows] * 8)
        memory[budget] = max(m.parts["vocabulary"] for m in found)
    assert rates[2**40] == rates[None] and memory[2**40] == memory[None]
    assert len({s for s, _ in rates.values()}) == 1
    kept, some, none = (rates[budget][1] for budget in (None, 48 * 2**20, 0))
    product = 2 * 2048 * 3072 * rows / (A100.rate("float16") * A100.efficiency.matrix)
    assert kept < some < none and product < none - kept < 1.7 * product
    assert memory[0] < memory[48 * 2**20] < memory[None] - 40 * 2**20


@pytest.mark.parametrize("name", ["1f1b", "v-half", "interleaved-1f1b"])
def test_ends_stand_on_the_first_and_the_last_stage(name: str) -> None:
    shape, setting, layout, layers, _, costs, _ = case(name, 0)
    rates = Rates(shape, setting, A100)
    ends = {"forward": 0, "backward": 1, "weight": 2}
    embedding = (*rates.embedding(shape.vocabulary, dense=True), 0.0)
    for rank, stages in enumerate(layout.stages):
        for chunk, stage in enumerate(stages):
            for cost, at in ends.items():
                expected = layers[stage] * rates.layer()[at]
                expected += embedding[at] if stage == 0 else 0
                expected += rates.undivided_head()[at] if stage == layout.last_stage else 0
                assert costs.at(cost, rank, chunk) == pytest.approx(expected), (rank, chunk, cost)
    assert costs.at("head_s", 1) == costs.at("embedding_forward", 1) == 0


def test_messages_between_nodes_are_slower() -> None:
    shape, setting = gpt_shape(1024, 16, 8, 9973, 512), Setting(512, 3)
    layout = layout_of("1f1b", 16, barriers=1)
    costs = pass_costs(shape, setting, A100, layout, [1] * 16, rows_for([1.0] * 16, 1.0, 9973))
    size = 3 * 512 * 1024 * 2
    for rank in range(15):
        rate, latency = (25e9, 25e-6) if rank == 7 else (300e9, 15e-6)  # eight devices a node
        assert costs.at("p2p", rank) == pytest.approx(latency + size / (0.8 * rate))
    assert costs.slowest("u") == pytest.approx(4 * 25e-6 + 2 * size / (0.8 * 25e9))
    assert costs.slowest("c2") == 0 and costs.slowest("c1") < costs.slowest("c0") < costs.slowest("u")


def test_passes_beside_collectives_are_slower() -> None:
    shape, setting, layout, layers, rows, costs, _ = case("1f1b", 2)
    rates = Rates(shape, setting, A100)
    slow = 1 + A100.efficiency.contention
    assert costs.at("forward", 2) == pytest.approx(slow * layers[2] * rates.layer()[0])
    assert costs.at("head_t", 2) == pytest.approx(slow * rates.head(rows[2], 2)[1])
    assert costs.at("embedding_gradient", 2) == pytest.approx(rates.embedding(rows[2], dense=False)[1])
    assert layout.last_rank == 3


def test_a_message_is_as_slow_as_in_the_slowest_pipeline() -> None:
    # four pipelines of three ranks on nodes of eight: only the third, ranks 6, 7 and 8, leaves its node, behind rank 1
    shape, setting = gpt_shape(1024, 6, 8, 9973, 512), Setting(512, 3)
    layout = layout_of("1f1b", 3, barriers=1)
    sizes = (shape, setting, A100, layout, [2] * 3, rows_for([1.0] * 3, 1.0, 9973))
    size = 3 * 512 * 1024 * 2
    alone, four = pass_costs(*sizes), pass_costs(*sizes, replicas=4)
    near, far = 15e-6 + size / (0.8 * 300e9), 25e-6 + size / (0.8 * 25e9)
    assert [alone.at("p2p", r) for r in range(2)] == pytest.approx([near, near])
    assert [four.at("p2p", r) for r in range(2)] == pytest.approx([near, far])
    assert four.slowest("c0") == pytest.approx(2 * 25e-6 + size / (0.8 * 25e9))
    assert alone.slowest("c0") == pytest.approx(2 * 15e-6 + size / (0.8 * 300e9))


@pytest.mark.parametrize("members", [2, 3, 8])
def test_a_ring_sends_each_chunk_to_all(members: int) -> None:
    # by hand: every rank passes one chunk on per round, until each chunk has been summed on one rank and then copied to all
    byte_count, tensors = 7e8, 5
    held = [{(rank, chunk) for chunk in range(members)} for rank in range(members)]
    seconds, chunk_seconds = 0.0, byte_count / members / (0.8 * 300e9)
    rounds = 0
    while any(len({c for _, c in summed}) * members != len(summed) for summed in held):
        sent = [{(o, c) for o, c in held[r] if c == (r - rounds) % members} for r in range(members)]
        for r in range(members):
            held[(r + 1) % members] |= sent[r]
        rounds += 1
        seconds += chunk_seconds + tensors * 15e-6
    assert rounds == 2 * (members - 1)
    assert all_reduce(A100, byte_count, members, tensors, within=True) == pytest.approx(seconds)
    far = 2 * (members - 1) * (byte_count / members / (0.8 * 25e9) + tensors * 25e-6)
    assert all_reduce(A100, byte_count, members, tensors, within=False) == pytest.approx(far)
    assert all_reduce(A100, byte_count, 1, tensors, within=False) == 0.0


@pytest.mark.parametrize(("replicas", "rate", "latency"), [(2, 300e9, 15e-6), (3, 25e9, 25e-6)])
def test_a_step_ends_with_the_sum_over_replicas(replicas: int, rate: float, latency: float) -> None:
    # four ranks a pipeline: two pipelines are a node of eight, three are not
    shape, setting, layout, layers, rows, *_ = case("1f1b", 1)
    sizes = (shape, setting, A100, layout, layers, rows)
    per_rank = 4 * (12 * 1024**2 + 13 * 1024) + 2 * max(rows) * 1024
    ranks = [per_rank - 2 * (max(rows) - n) * 1024 for n in rows]
    ranks[0] += 512 * 1024  # learned positions
    ranks[3] += 2 * 1024  # the final norm
    sums = [2 * (replicas - 1) * (4 * n / replicas / (0.8 * rate) + (4 * 12 + 2) * latency) for n in ranks]
    alone = max(ranks) * 2 * 18 / (0.8 * 2.039e12)  # 2 + 4 + 12 bytes per parameter, read and written
    assert step_end(*sizes) == pytest.approx(alone)
    assert step_end(*sizes, replicas) == pytest.approx(alone + max(sums))


def test_tied_ends_are_summed() -> None:
    spec = read_spec(tiny_config("qwen2", tie_word_embeddings=True))
    shape, setting = shape_of(spec), Setting(32)
    ends = {}
    for barriers in (0, 1):
        layout = layout_of("1f1b", 2, barriers=barriers)
        held = parameters_of(shape, layout, [2, 2], [505, 504])
        moved = max(held) * 2 * setting.parameter / (A100.bandwidth * A100.efficiency.memory)
        ends[barriers] = step_end(shape, setting, A100, layout, [2, 2], [505, 504]) - moved
    tied = 2 * (15e-6 + 4 * spec.vocabulary * spec.hidden / 2 / (0.8 * 300e9))
    assert ends == {0: pytest.approx(tied), 1: pytest.approx(0.0, abs=1e-12)}
    one = layout_of("v-half", 2, barriers=0)  # both ends on rank 0
    held = parameters_of(shape, one, [1] * 4, [505, 504])
    moved = max(held) * 2 * setting.parameter / (A100.bandwidth * A100.efficiency.memory)
    assert step_end(shape, setting, A100, one, [1] * 4, [505, 504]) == pytest.approx(moved)


def test_an_undivided_heads_gradient_is_made_where_the_setting_says() -> None:
    shape = gpt_shape(1024, 8, 8, 100_003, 512)
    f, b, w = Rates(shape, Setting(512), A100).undivided_head()
    early = Rates(shape, Setting(512, late_head=False), A100).undivided_head()
    assert early == (f, pytest.approx(b + w), 0.0) and w > 0.5 * f
