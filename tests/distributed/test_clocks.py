"""Timelines of ranks on several machines, whose clocks have nothing to do with one another."""

from __future__ import annotations

import time
from types import SimpleNamespace

from pinisi.engine import executor
from pinisi.schedule import Kind, Pass, Span, build


def run(world, _) -> list[float] | None:
    """On every rank of the pool: ranks 2 and 3 play a second machine, started a thousand seconds before the first."""
    skew = 1000.0 * (world.rank >= 2)
    before = executor.time, executor.socket
    executor.time = SimpleNamespace(perf_counter=lambda: time.perf_counter() + skew)
    executor.socket = SimpleNamespace(gethostname=lambda: f"machine-{world.rank // 2}")
    try:
        start = time.perf_counter() + skew
        spans = [Span(Pass(Kind.F, world.rank, 0), start + 0.5 * world.rank, start + 9.0)]
        timeline = executor.gather_timeline(build("1f1b", 4, 1), spans, world.communicators[4])
    finally:
        executor.time, executor.socket = before
    return [row[0].start for row in timeline.spans]


def test_clocks_of_several_machines_are_laid_over_one_another(pool):
    for starts in pool.run("tests.distributed.test_clocks:run"):
        assert all(abs(start - 0.5 * rank) < 0.4 for rank, start in enumerate(starts)), starts
