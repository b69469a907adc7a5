"""The table of an evaluation: E, F and S once each, run by a strict interpreter, without bubbles between microbatches."""

import pytest

from pinisi.schedule import Costs, Kind, Layout, forward_only, lower, simulate
from tests.schedule.strict import Strict

COSTS = Costs(1.0, 2.0, head_s=0.5, embedding_forward=0.01, p2p=0.01, c0=0.01, c1=0.01, embedding=0.01)


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("microbatches", [1, 3, 8])
def test_an_evaluation_runs_and_keeps_every_rank_busy(ranks, microbatches, barriers):
    layout = Layout(tuple((rank,) for rank in range(ranks)), barriers)
    schedule = forward_only(layout, microbatches)
    kinds = (Kind.E, Kind.F, Kind.S) if barriers else (Kind.F,)
    for row in schedule.order:
        assert sorted((p.kind, p.microbatch) for p in row) == sorted(
            (kind, i) for kind in kinds for i in range(microbatches)
        )
    assert Strict(lower(schedule)).runs()
    interval = 1.0 + (0.51 if barriers else 0.0)
    messages = 0.1 + 0.05 * ranks
    assert simulate(schedule, COSTS).makespan <= microbatches * interval + ranks * 1.0 + interval + messages
