"""The lower bound where it can be worked out by hand. That no order beats it stands in test_search."""

import pytest

from pinisi.schedule import Costs, layout_of
from pinisi.schedule.search.bound import lower_bound

P, M = 5, 9
COSTS = Costs(1.0, 2.0, 3.0, head_s=0.5, head_t=0.25)


def test_one_rank_is_its_work():
    assert lower_bound(layout_of("1f1b", 1), M, COSTS) == pytest.approx(M * 6.0)


def test_1f1b_is_its_closed_form():
    """m (F + BW) + (p - 1) (F + BW); with 1 barrier S more for each microbatch, not T, which fits in at the end."""
    assert lower_bound(layout_of("1f1b", P), M, COSTS, whole=True) == pytest.approx((M + P - 1) * 6.0)
    one = lower_bound(layout_of("1f1b", P, barriers=1), M, COSTS, whole=True)
    assert one == pytest.approx((M + P - 1) * 6.0 + M * 0.5)
    two = lower_bound(layout_of("1f1b", P, barriers=2), M, COSTS, whole=True)
    assert two == pytest.approx((M + P - 1) * 6.0 + M * 0.75)


def test_apart_w_comes_behind_and_leaves_only_b_on_the_way():
    """The last rank has (p - 1) B behind its last B in which W fits: m (F + B + W) + (p - 1) F, and on the first one 1 W."""
    assert lower_bound(layout_of("zb-h1", P), M, COSTS) == pytest.approx(M * 6.0 + (P - 1) * 1.0)


def test_messages_lie_on_the_way():
    costs = Costs(1.0, 2.0, 3.0, p2p=0.125)
    assert lower_bound(layout_of("1f1b", P), M, costs, whole=True) == pytest.approx(
        (M + P - 1) * 6.0 + (P - 1) * 0.25
    )


def test_with_one_activation_a_microbatch_at_a_time():
    """The first rank holds each from its F to its BW: a round trip of p (F + BW)."""
    found = lower_bound(layout_of("1f1b", P), M, COSTS, whole=True, activations=[1] * P)
    assert found == pytest.approx(M * P * 6.0)


def test_with_one_head_s_to_t_at_a_time():
    costs = Costs(1.0, 1.0, 1.0, head_s=0.5, head_t=0.25, c1=4.0)
    found = lower_bound(layout_of("1f1b", P, barriers=1), M, costs, heads=1)
    assert found == pytest.approx(P * 1.0 + M * (0.5 + 4.0 + 0.25))
