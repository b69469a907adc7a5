"""Seconds to build, verify and simulate tables: python benchmarks/tables.py [--ranks 64] [--microbatches 512] [--json FILE].

Costs are those of a head of a fifth of an interval. "of busiest" is the simulated step / the busiest rank's work.
"""

import argparse
import json
import platform
import time
from pathlib import Path

from pinisi.schedule import Costs, build, names, simulate, verify

CHANNELS = {"p2p": 0.01, "c0": 0.02, "c1": 0.02, "u": 0.02, "c2": 0.02, "embedding": 0.01}


def costs_of(chunks: int) -> Costs:
    """In units of one chunk's F."""
    ends = {"embedding_forward": 0.01, "embedding_gradient": 0.01}
    return Costs(1.0, 1.0, 1.0, head_s=0.4 * chunks, head_t=0.2 * chunks, **ends, **CHANNELS)


def measured(name: str, ranks: int, microbatches: int, barriers: int) -> dict:
    costs = costs_of(len(build(name, 2, 4, barriers=barriers).layout.stages[0]))
    seconds = {}
    clock = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[what], clock = now - clock, now

    schedule = build(name, ranks, microbatches, barriers=barriers, costs=costs)
    lap("build")
    verify(schedule)
    lap("verify")
    timeline = simulate(schedule, costs)
    lap("simulate")
    return {
        "schedule": name,
        "barriers": barriers,
        "passes": sum(map(len, schedule.order)),
        **seconds,
        "seconds": sum(seconds.values()),
        "of_busiest": timeline.makespan / (microbatches * costs.busiest(schedule.layout)),
        "peak_activation": max(map(timeline.peak_activation, range(ranks))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--microbatches", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for name in names():
        for barriers in (0, 1, 2) if name != "interlaced" else (1, 2):
            row = measured(name, options.ranks, options.microbatches, barriers)
            rows.append(row)
            print(
                f"{name:17} {barriers} barriers {row['passes']:7} passes: build {row['build']:5.2f} "
                f"verify {row['verify']:5.2f} simulate {row['simulate']:5.2f} = {row['seconds']:5.2f} s; "
                f"{row['of_busiest']:.3f} x the busiest rank's work, {row['peak_activation']:g} alive",
                flush=True,
            )
    print(f"the slowest takes {max(row['seconds'] for row in rows):.2f} s")
    if options.json:
        cpu = platform.processor() or platform.machine()
        settings = {"ranks": options.ranks, "microbatches": options.microbatches, "processor": cpu}
        options.json.write_text(json.dumps({**settings, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
