"""The ends of a step: filled, by no more memory, and never to a longer step."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.schedule import Costs, Kind, Layout, build, simulate, verify
from pinisi.schedule.builders.classic import one_f_one_b
from pinisi.schedule.builders.fill import filled
from pinisi.schedule.builders.periodic import blocks
from pinisi.schedule.costs import NOMINAL
from pinisi.schedule.execution.replay import replay
from tests.schedule.test_build import head_costs


def alive(row, opens, closes):
    now = most = 0
    for p in row:
        now += (p.kind is opens) - (p.kind is closes)
        most = max(most, now)
    return most


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 2), st.data())
def test_filling_never_lengthens_a_step_or_holds_more(ranks, barriers, data):
    time = st.floats(0.5, 1.5)
    costs = Costs(
        forward=[data.draw(time) for _ in range(ranks)],
        backward=[2 * data.draw(time) for _ in range(ranks)],
        head_s=data.draw(st.floats(0.01, 3)),
        head_t=data.draw(st.floats(0.01, 3)),
        embedding_forward=0.01,
        embedding_gradient=0.01,
        **{name: data.draw(st.floats(0, 0.2)) for name in ("p2p", "c0", "c1", "u", "c2", "embedding")},
    )
    layout = Layout(tuple((rank,) for rank in range(ranks)), barriers)
    microbatches = data.draw(st.integers(1, 3 * ranks))
    block = next(blocks(layout, NOMINAL, [ranks - rank + barriers for rank in range(ranks)]))
    plain = replace(block.unroll("1f1b", microbatches), costs=costs)
    full = filled(plain, costs)
    verify(full)
    assert max(replay(full, costs).end.values()) <= max(replay(plain, costs).end.values()) * (1 + 1e-9)
    for row, before in zip(full.order, plain.order, strict=True):
        assert sorted(row) == sorted(before)
        for opens, closes in ((Kind.F, Kind.BW), (Kind.S, Kind.T)):
            assert alive(row, opens, closes) <= alive(before, opens, closes)


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("ranks", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("head", [1.0, 3.0])
def test_short_steps_come_within_one_per_cent_of_the_limit(ranks, barriers, head):
    """Where a block alone leaves up to 8 %: m = p, no more than p + barriers activations."""
    costs = head_costs(barriers, head)
    for microbatches in (ranks, 2 * ranks):
        schedule = build("1f1b", ranks, microbatches, barriers=barriers, costs=costs)
        limit = microbatches * (3 + head) + (ranks - 1) * 3
        assert simulate(schedule, costs).makespan <= 1.01 * limit


def test_a_published_block_is_left_as_it_is():
    layout, costs = Layout(((0,), (1,), (2,), (3,)), 2), head_costs(2, 1.0)
    plain = one_f_one_b(layout, 8, costs, fill=False)
    full = build("1f1b", 4, 8, barriers=2, costs=costs)
    assert simulate(full, costs).makespan < 0.97 * simulate(plain, costs).makespan
