import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, build, lower, simulate, verify
from tests.effort import first
from tests.schedule.strict import Strict, table_runs

FREE = {1: (2 / 3, 1 / 3), 2: (1 / 3, 2 / 3)}  # S's and T's share of the head


def head_costs(barriers: int, head: float) -> Costs:
    if not barriers:
        return Costs(1.0, 1.0, 1.0)
    s, t = FREE[barriers]
    return Costs(1.0, 1.0, 1.0, head_s=s * head, head_t=t * head)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(("gpipe", "1f1b")), st.integers(1, 8), st.data())
def test_every_schedule_is_complete_and_runs(name, ranks, data):
    microbatches = data.draw(st.integers(1, 4 * ranks))
    barriers = data.draw(st.integers(0, 2))
    schedule = build(name, ranks, microbatches, barriers=barriers)
    verify(schedule)
    assert table_runs(schedule)
    assert len({p for _, _, p in schedule.passes()}) == sum(len(row) for row in schedule.order)
    assert sum(len(row) for row in schedule.order) == ranks * microbatches * (6 if barriers else 2)
    if ranks * microbatches <= 48:
        assert Strict(lower(schedule)).runs()


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("ranks", first(7, [2, 3, 4, 5, 8, 11, 16, 32]))
def test_peaks_and_bubble_are_the_closed_forms(ranks, barriers):
    for microbatches in (1, max(1, ranks // 2), ranks, ranks + 1, 2 * ranks + 3):
        if ranks > 8 and microbatches not in (1, ranks + 1, 2 * ranks + 3):
            continue
        costs = head_costs(barriers, 0.6)
        schedule = build("1f1b", ranks, microbatches, barriers=barriers)
        timeline = simulate(schedule, costs)
        assert max(map(timeline.peak_activation, range(ranks))) == min(microbatches, ranks + barriers)
        for rank in range(ranks):
            assert timeline.peak_activation(rank) <= min(microbatches, ranks - rank + barriers)
    interval = costs.busiest(schedule.layout)
    fill = (ranks - 1) * 3.0
    bubble = fill / (microbatches * interval + fill)
    slack = 1e-9 if not barriers else 1.5 * interval / timeline.makespan
    assert bubble - 1e-9 <= timeline.bubble(0) <= bubble + slack


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8, 16])
def test_no_bubble_in_the_steady_state_whatever_the_head_costs(ranks, barriers):
    """Within 1 % and one and a half intervals of the limit, for heads of 3 % to 50 % of an interval."""
    microbatches = 2 * ranks + 23
    for head in (0.1, 0.37, 1.0, 2.0, 3.0):
        costs = head_costs(barriers, head)
        schedule = build("1f1b", ranks, microbatches, barriers=barriers, costs=costs)
        limit = microbatches * (3 + head) + (ranks - 1) * 3
        assert simulate(schedule, costs).makespan <= 1.01 * limit + 1.5 * (3 + head)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(1, 2), st.data())
def test_uneven_ranks_and_slow_messages(ranks, barriers, data):
    """An odd ratio of costs and messages that take time: near the busiest rank's sum still."""
    time = st.floats(0.8, 1.2)
    costs = Costs(
        forward=[data.draw(time) for _ in range(ranks)],
        backward=[2 * data.draw(time) for _ in range(ranks)],
        head_s=data.draw(st.floats(0.1, 1.5)),
        head_t=data.draw(st.floats(0.1, 1.5)),
        embedding_forward=0.03,
        embedding_gradient=0.05,
        **{name: data.draw(st.floats(0, 0.05)) for name in ("p2p", "c0", "c1", "u", "c2", "embedding")},
    )
    microbatches = 4 * ranks
    schedule = build("1f1b", ranks, microbatches, barriers=barriers, costs=costs)
    verify(schedule)
    timeline = simulate(schedule, costs)
    assert max(map(timeline.peak_activation, range(ranks))) <= ranks + barriers
    interval = costs.busiest(schedule.layout)
    fill = 3.6 * (ranks - 1) + 0.1 * ranks
    assert timeline.makespan <= 1.06 * microbatches * interval + fill + 2 * interval


def test_few_t_wait_with_one_barrier():
    schedule = build("1f1b", 5, 23, barriers=1)
    for row in schedule.order:
        alive, most = 0, 0
        for p in row:
            alive += (p.kind is Kind.S) - (p.kind is Kind.T)
            most = max(most, alive)
        assert most <= 2


def test_gpipe_runs_every_f_before_any_bw():
    for barriers in (0, 1, 2):
        for row in build("gpipe", 3, 5, barriers=barriers).order:
            kinds = [p.kind for p in row]
            assert max(i for i, k in enumerate(kinds) if k is Kind.F) < kinds.index(Kind.BW)
    timeline = simulate(build("gpipe", 3, 5, barriers=1), head_costs(1, 1.0))
    assert timeline.makespan == pytest.approx(5 * 4 + 2 * 3)
    assert timeline.peak_activation(0) == 5


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("1f2b", 2, 2), {}, ("1f2b", "1f1b", "gpipe")),
        (("1f1b", 0, 2), {}, ("ranks", "0")),
        (("1f1b", 2, 0), {}, ("microbatches", "0")),
        (("1f1b", 2, 2.0), {}, ("microbatches", "2.0")),
        (("1f1b", 2, 2), {"barriers": 3}, ("barriers", "3")),
        (("1f1b", 2, 2), {"chunks": 2}, ("chunks", "2")),
        (("1f1b", 2, 2), {"barriers": 1, "costs": Costs([1, 1, 1], 1)}, ("forward", "3", "2 ranks")),
    ],
)
def test_what_cannot_be_built_is_named(arguments, options, words):
    with pytest.raises(ScheduleError) as error:
        build(*arguments, **options)
    assert all(word in str(error.value) for word in words)


def test_costs_of_zero_still_give_an_order():
    for barriers in (0, 1, 2):
        for costs in (Costs(0, 0), Costs(1, 2), Costs(1, 2, head_s=0.5)):
            verify(build("1f1b", 3, 7, barriers=barriers, costs=costs))
