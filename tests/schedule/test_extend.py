"""A long step made of a short one is the one that would have been built: complete, no larger, and as fast."""

import pytest

from pinisi.schedule import Costs, build, lower, names, simulate, verify
from pinisi.schedule.builders import extend
from pinisi.schedule.builders.extend import extended
from tests.schedule.strict import Strict

COSTS = Costs(
    1.0,
    1.1,
    0.9,
    head_s=0.4,
    head_t=0.3,
    embedding_forward=0.01,
    embedding_gradient=0.02,
    p2p=0.02,
    c0=0.03,
    c1=0.02,
    u=0.03,
    c2=0.03,
    embedding=0.01,
)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_a_long_step_is_as_good_as_one_that_is_made_whole(name, barriers, monkeypatch):
    if name == "interlaced" and not barriers:
        return
    ranks, long = 4, 109
    whole = build(name, ranks, long, barriers=barriers, costs=COSTS)
    monkeypatch.setattr(extend, "LARGE", 1)
    made = build(name, ranks, long, barriers=barriers, costs=COSTS)
    verify(made)
    assert all(sorted(row) == sorted(other) for row, other in zip(made.order, whole.order, strict=True))
    took, takes = simulate(made, COSTS), simulate(whole, COSTS)
    assert took.makespan <= takes.makespan * 1.02  # of the short step another order may be the best
    for rank in range(ranks):
        assert took.peak_activation(rank) <= takes.peak_activation(rank) + 0.5


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", ["1f1b", "zbv", "v-half", "dualpipev", "interleaved-1f1b"])
def test_what_is_repeated_runs_strictly(name, barriers):
    period = 3 if name == "interleaved-1f1b" else 1
    schedule = build(name, 3, 21, barriers=barriers, costs=COSTS)
    longer = extended(schedule, 21 + 4 * period, [period])
    assert longer is not None
    assert longer.microbatches == 21 + 4 * period
    verify(longer)
    assert Strict(lower(longer)).runs()


def test_a_middle_that_does_not_repeat_is_not_extended():
    """gpipe runs every F first: no moment comes back."""
    assert extended(build("gpipe", 2, 24), 30) is None
