"""Search: never worse than what is built, inside its limits, and its bound is one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.errors import ScheduleError
from pinisi.schedule import Costs, Kind, names, verify
from pinisi.schedule.search import search


@st.composite
def settings_of_a_step(draw):
    ranks = draw(st.integers(2, 4))
    name = draw(st.sampled_from(names()))
    barriers = draw(st.integers(1 if name == "interlaced" else 0, 2))
    time = st.floats(0.5, 2.0)
    costs = Costs(
        forward=[draw(time) for _ in range(ranks)],
        backward=[draw(time) for _ in range(ranks)],
        weight=[draw(time) for _ in range(ranks)],
        head_s=draw(st.floats(0.05, 2.0)) if barriers else 0.0,
        head_t=draw(st.floats(0.05, 2.0)) if barriers else 0.0,
        embedding_forward=0.01 if barriers else 0.0,
        embedding_gradient=0.01 if barriers else 0.0,
        **{channel: draw(st.floats(0, 0.1)) for channel in ("p2p", "c0", "c1", "u", "c2", "embedding")},
    )
    return name, ranks, draw(st.integers(2 * ranks, 3 * ranks)), costs, barriers


@settings(max_examples=50, deadline=None)
@given(settings_of_a_step(), st.sampled_from([None, 2, 4]))
def test_never_worse_than_built_and_never_below_the_bound(step, heads):
    name, ranks, microbatches, costs, barriers = step
    try:
        found = search(name, ranks, microbatches, costs, barriers=barriers, heads=heads)
    except ScheduleError as error:  # gpipe holds what it holds
        assert str(heads) in str(error)
        return
    verify(found.schedule)
    assert found.bound <= found.makespan * (1 + 1e-9)
    if found.built is not None:
        assert found.makespan <= found.built * (1 + 1e-9)
    for row in found.schedule.order:
        alive = most = 0
        for p in row:
            alive += (p.kind is Kind.S) - (p.kind is Kind.T)
            most = max(most, alive)
        assert most <= (heads or microbatches)


def test_putting_t_off_pays_and_a_limit_holds():
    costs = Costs(11.3, 11.2, 11.2, head_s=5.6, head_t=2.8, embedding_forward=0.4, embedding_gradient=0.8)
    free = search("1f1b", 8, 16, costs, barriers=1)
    tight = search("1f1b", 8, 16, costs, barriers=1, heads=2)
    assert tight.heads == 2 < free.heads
    assert free.makespan < 0.99 * tight.makespan
    with pytest.raises(ScheduleError, match="v-half"):
        search("1f1b", 8, 16, costs, barriers=1, activations=4)
