"""Peaks and bubbles of every schedule against the published closed forms, in units of one F (B = W = F)."""

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, build, layout_of, names, simulate, verify

UNIT = Costs(1.0, 1.0, 1.0)
FREE = Costs(1.0, 1.0, 1.0, head_s=1e-6, head_t=1e-6, embedding_forward=1e-6, embedding_gradient=1e-6)
RANKS = [2, 3, 4, 5, 8, 12, 16, 32]


def timeline(name, ranks, microbatches, barriers=0):
    costs = FREE if barriers else UNIT
    return simulate(build(name, ranks, microbatches, barriers=barriers, costs=costs), costs)


def peak(name, ranks, microbatches, barriers=0):
    line = timeline(name, ranks, microbatches, barriers)
    return max(line.peak_activation(rank) for rank in range(ranks))


def waits(name, ranks, microbatches):
    """Units by which the step is longer than a rank's own passes."""
    line = timeline(name, ranks, microbatches)
    return line.makespan - microbatches * max(UNIT.work(line.schedule.layout))


@pytest.mark.parametrize("ranks, times", [(p, k) for p in RANKS for k in (1, 2, 4) if p * k <= 32])
def test_zero_bubble_schedules(ranks, times):
    """arXiv 2401.10241, table 2: zb-h1 waits (p - 1)(F + B - W) and holds p; zb-2p and zbv wait for the first F's alone, which
    is p - 1, and hold 2p - 1 and p (arXiv 2405.15362, table 1), all for m of 2p - 1 and more."""
    m = ranks * times
    assert waits("zb-h1", ranks, m) == pytest.approx(ranks - 1)
    assert peak("zb-h1", ranks, m) == min(m, ranks)
    assert peak("zbv", ranks, m) <= ranks
    assert peak("zb-2p", ranks, m) <= min(m, 2 * ranks - 1)
    if m >= 2 * ranks - 1:
        assert waits("zb-2p", ranks, m) == pytest.approx(ranks - 1)
        assert waits("zbv", ranks, m) == pytest.approx(ranks - 1)
        assert peak("zb-2p", ranks, m) == 2 * ranks - 1


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("ranks", [2, 4, 6, 8, 12, 16, 24])
def test_v_half_holds_half_as_much_and_one_more_for_each_barrier(ranks, barriers):
    for microbatches in (2 * ranks, 3 * ranks + 1) if ranks < 16 else (2 * ranks,):
        assert peak("v-half", ranks, microbatches, barriers) == min(microbatches, ranks / 2 + 1 + barriers)


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 7, 8, 12, 16])
def test_v_min_holds_a_third_and_one_more_for_each_barrier(ranks, barriers):
    assert peak("v-min", ranks, 3 * ranks, barriers) <= ranks / 3 + 4 / 3 + barriers


@pytest.mark.parametrize("ranks", RANKS)
def test_interlaced_holds_one_and_a_half(ranks):
    for barriers in (1, 2):
        found = peak("interlaced", ranks, 2 * ranks, barriers)
        assert 1.5 * (ranks - 1) <= found <= 1.5 * ranks


@pytest.mark.parametrize("ranks", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_interleaved_waits_a_chunks_share(ranks, chunks):
    """arXiv 2104.04473, section 2.2: (p - 1)(F + B)/v waits, where a rank's F and B are v chunks'; and its warm-up in memory."""
    microbatches = 4 * ranks
    schedule = build("interleaved-1f1b", ranks, microbatches, chunks=chunks, costs=UNIT)
    line = simulate(schedule, UNIT)
    assert line.makespan - microbatches * 3 * chunks == pytest.approx(3 * (ranks - 1))
    held = (2 * (ranks - 1) + (chunks - 1) * ranks + 1) / chunks
    assert max(map(line.peak_activation, range(ranks))) == pytest.approx(min(held, microbatches))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8, 16])
def test_dualpipev(ranks):
    """arXiv 2412.19437, table 2: p + 1 microbatches at most."""
    assert peak("dualpipev", ranks, 2 * ranks + 1) <= ranks + 1
    assert waits("dualpipev", ranks, 3 * ranks) <= 2 * (ranks - 1)
    with pytest.raises(ScheduleError, match=f"{2 * ranks} for {ranks}"):
        build("dualpipev", ranks, 2 * ranks - 1)


@pytest.mark.parametrize("name", names())
def test_a_barrier_costs_one_microbatch_and_no_time(name):
    """With a head of a tenth of an interval the step is the busiest rank's passes and a fill no longer than without."""
    for ranks in (2, 4, 8):
        microbatches = 4 * ranks
        base = build("1f1b" if name == "interlaced" else name, ranks, microbatches, costs=UNIT)
        without = simulate(base, UNIT)
        fill = without.makespan - microbatches * max(UNIT.work(base.layout))
        for barriers in (1, 2):
            costs = Costs(
                1.0, 1.0, 1.0, head_s=0.2, head_t=0.2, embedding_forward=0.01, embedding_gradient=0.01
            )
            schedule = build(name, ranks, microbatches, barriers=barriers, costs=costs)
            verify(schedule)
            line = simulate(schedule, costs)
            interval = max(costs.work(schedule.layout))
            assert line.makespan <= microbatches * interval + fill + 1.5 * interval, (ranks, barriers)
            if name not in ("gpipe", "interlaced"):
                held = max(map(without.peak_activation, range(ranks))) + barriers
                assert max(map(line.peak_activation, range(ranks))) <= min(microbatches, held), (
                    ranks,
                    barriers,
                )


@pytest.mark.parametrize("name", names())
def test_every_pass_is_there_once_whatever_the_numbers(name):
    for ranks in (1, 2, 3, 5):
        for microbatches in (1, 2, ranks, 2 * ranks + 1):
            for barriers in (0, 1, 2):
                least = 2 * ranks if name == "dualpipev" else 1
                if name == "interlaced" and not barriers:
                    with pytest.raises(ScheduleError, match="1 or 2"):
                        build(name, ranks, microbatches)
                    continue
                schedule = build(name, ranks, max(least, microbatches), barriers=barriers)
                verify(schedule)
                assert schedule.layout == layout_of(name, ranks, barriers=barriers)
                heads = [p for _, _, p in schedule.passes() if p.kind is Kind.S]
                assert len(heads) == (schedule.microbatches * ranks if barriers else 0)
