"""The clock that search tries its orders with: `simulate`'s times, whether an order is given or made on the way."""

import math
import random

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, build, names, simulate
from pinisi.schedule.search.backfill import backfilled
from pinisi.schedule.search.listing import Lister, keys_by_kind, keys_by_tail
from pinisi.schedule.search.network import Clock, Network

RANKS, MICROBATCHES = 3, 7


def costs_of(seed: int, barriers: int) -> Costs:
    """Links that are fast: no receive is posted too late, which is what the clock leaves out."""
    rng = random.Random(seed)

    def each(low: float, high: float) -> list[float]:
        return [rng.uniform(low, high) for _ in range(RANKS)]

    head = (0.1, 1.0) if barriers else (0.0, 0.0)
    return Costs(
        each(0.5, 2), each(0.5, 2), each(0.5, 2), each(*head), each(*head), each(*head), each(*head),
        p2p=0.03, c0=0.02, c1=0.01, u=0.04, c2=0.03, embedding=0.02,
    )  # fmt: skip


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", names())
def test_the_clock_agrees_with_simulate(name, barriers):
    costs = costs_of(barriers, barriers)
    try:
        schedule = build(name, RANKS, MICROBATCHES, barriers=barriers, costs=costs)
    except ScheduleError as error:
        assert name == "interlaced" and "barriers must be 1 or 2" in str(error)
        return
    net = Network(schedule.layout, schedule.order, costs)
    order = [[net.number[p] for p in row] for row in schedule.order]
    clock = Clock(net)
    expected = simulate(schedule, costs)
    # A rank that only receives may post a C0 late behind others, which the clock leaves out.
    assert clock.run(order) == pytest.approx(expected.makespan, rel=3e-3)
    assert math.isinf(clock.run(order, expected.makespan * 0.999))
    caps = [net.peaks(row) for row in order]
    lister = Lister(net, caps)
    for keys in (keys_by_tail(net), keys_by_kind(net, "S E T B BW F W G")):
        for patience in (0.0, 0.6):
            made = lister.make(keys, patience)
            # Run as fixed order, a pass can only start earlier.
            assert clock.run(lister.rows) <= made + 1e-9
            assert all(net.fits(row, cap) for row, cap in zip(lister.rows, caps, strict=True))
    length, rows = backfilled(net, order, caps)
    assert length <= expected.makespan * (1 + 1e-9)
    assert all(net.fits(row, cap) for row, cap in zip(rows, caps, strict=True))
    assert [sorted(row) for row in rows] == [sorted(row) for row in order]


def test_an_order_that_hangs_takes_for_ever():
    schedule = build("1f1b", 2, 3)
    net = Network(schedule.layout, schedule.order, Costs(1.0, 1.0, 1.0))
    first, second = ([net.number[p] for p in row] for row in schedule.order)
    assert math.isfinite(Clock(net).run([first, second]))
    assert math.isinf(Clock(net).run([first[::-1], second]))
    assert math.isinf(Lister(net, [(0, 0, 0)] * 2).make(keys_by_tail(net), 0.0))
