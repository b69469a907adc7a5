"""`pinisi bench emulated`: real processes, real communication, passes that sleep for their cost; measured against simulated.

Costs have the proportions of an 8-GPU profile with V = 256k (F : BW : S+T about 11.4 : 22.5 : 8 ms, from the artifact of
arXiv 2411.05288), scaled so that an interval takes `--interval` seconds and the processes, which share few cores, don't
disturb one another. The times of messages are measured in the same run, before the steps, and given to the simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist

from pinisi.engine.comm import Communicator, init_process_group
from pinisi.engine.emulate import EmulatedWorker
from pinisi.engine.executor import Executor, gather_timeline
from pinisi.engine.launch import joined, launch, rank_main
from pinisi.schedule import Costs, Layout, build, layout_of, lower, names, simulate, verify
from pinisi.schedule.program import Message, MessageChannel

# Milliseconds of F, B + W, S + T, E, G on one A100 (V = 256k, 8 ranks): arXiv 2411.05288's artifact, a middle rank.
PROFILE = {
    "forward": 11.4,
    "backward": 22.5,
    "head": 8.4,
    "embedding_forward": 0.45,
    "embedding_gradient": 0.79,
}
ELEMENTS = 4096  # fp32 numbers in a message


def profile(barriers: int, interval: float) -> tuple[dict[str, float], float]:
    """(costs in seconds, the factor by which they are longer than the profile's)."""
    factor = interval / (sum(PROFILE.values()) / 1e3)
    seconds = {name: value / 1e3 * factor for name, value in PROFILE.items()}
    head = seconds.pop("head")
    if barriers == 0:
        return {k: v for k, v in seconds.items() if not k.startswith("embedding")}, factor
    s = head * (
        2 / 3 if barriers == 1 else 1 / 3
    )  # S : T = 2 : 1 with 1 barrier, 1 : 2 with 2, by their products
    return {**seconds, "head_s": s, "head_t": head - s}, factor


def message_times(communicator: Communicator, repeats: int = 15) -> dict[str, float]:
    """Median seconds from a message's launch to its end, all ranks having launched; measured channel by channel."""
    p, rank = communicator.size, communicator.rank
    found = {}
    for name, channel in (("c0", MessageChannel.C0), ("c1", MessageChannel.C1), ("c2", MessageChannel.C2)):
        taken = []
        for _ in range(repeats):
            tensor = torch.zeros(ELEMENTS if channel is not MessageChannel.C1 else 3 * (ELEMENTS // 64))
            dist.barrier()
            start = time.perf_counter()
            work, _result = communicator.launch(Message(channel, 0, -1, -1), tensor, p - 1)
            work.wait()
            taken.append(time.perf_counter() - start)
        found[name] = median(taken)
    taken = []
    for i in range(repeats if p > 1 else 0):
        dist.barrier()
        start = time.perf_counter()
        tensor = torch.zeros(ELEMENTS)
        works: list[dist.Work | None] = []
        if rank + 1 < p:
            works.append(communicator.send(Message(MessageChannel.ACTIVATION, i, rank, rank + 1), tensor))
        if rank > 0:
            works.append(
                communicator.receive(
                    Message(MessageChannel.ACTIVATION, i, rank - 1, rank), torch.zeros(ELEMENTS)
                )
            )
        for flying in works:
            if flying is not None:
                flying.wait()
        taken.append(time.perf_counter() - start)
    found["p2p"] = found["embedding"] = median(taken) if taken else 0.0
    everyone: list = [None] * p
    dist.all_gather_object(everyone, found)
    times = {name: median(row[name] for row in everyone) for name in found}
    times["u"] = times["c2"]
    return times


def measure(ranks: int, microbatches: int, interval: float, steps: int, schedules: Sequence[str]) -> dict:
    """On every rank: one row per schedule and number of barriers."""
    device = torch.device("cpu")
    torch.set_num_threads(1)
    init_process_group("gloo", device)
    communicator = Communicator.connect([list(range(ranks))], device)
    assert communicator is not None
    messages = message_times(communicator)
    rows = []
    for name, barriers in product(schedules, (0, 1, 2)):
        if name == "interlaced" and not barriers:
            continue
        layout = layout_of(name, ranks, barriers=barriers)
        costs, factor = costs_of(layout, interval, messages)
        schedule = build(name, ranks, microbatches, barriers=barriers, costs=costs)
        verify(schedule)
        program = lower(schedule, costs)
        worker = EmulatedWorker(schedule.layout, communicator.rank, costs, ELEMENTS)
        executor = Executor(communicator, worker, device)
        taken, lines = [], []
        for _ in range(steps):
            dist.barrier()
            spans = executor.step(program, record=True)
            timeline = gather_timeline(schedule, spans, communicator)
            taken.append(timeline.makespan)
            lines.append(timeline)
        predicted = simulate(schedule, costs)
        rows.append(
            {
                "schedule": name,
                "ranks": ranks,
                "microbatches": microbatches,
                "barriers": barriers,
                "measured_seconds": median(taken),
                "simulated_seconds": predicted.makespan,
                "error_percent": 100 * (predicted.makespan / median(taken) - 1),
                "bubble": max(median(t.bubble(r) for t in lines) for r in range(ranks)),
                "peak_activation": [max(t.peak_activation(r) for t in lines) for r in range(ranks)],
                "factor": factor,
                "messages": messages,
            }
        )
        if communicator.rank == 0:
            print(_line(rows[-1]), flush=True)
    return {"rows": rows}


def costs_of(layout: Layout, interval: float, messages: dict[str, float]) -> tuple[Costs, float]:
    """The profile's costs for a layout, shared out over a rank's stages, and the factor by which they are longer. Where B and W
    are apart each takes half of BW. 0 barriers: the last stage's passes hold the whole head (p shards' S + T, a third forward)."""
    given, factor = profile(layout.barriers, interval)
    forward, backward = given.pop("forward"), given.pop("backward")

    def shared(seconds: float, extra: float) -> list[list[float]]:
        return [
            [seconds / len(stages) + (extra if stage == layout.last_stage else 0.0) for stage in stages]
            for stages in layout.stages
        ]

    head = 0.0 if layout.barriers else PROFILE["head"] / 1e3 * factor * layout.ranks
    half = shared(backward / 2, head / 3)
    return Costs(forward=shared(forward, head / 3), backward=half, weight=half, **given, **messages), factor


def _line(row: dict) -> str:
    return (
        f"{row['schedule']:16} p = {row['ranks']:2}, m = {row['microbatches']:2}, {row['barriers']} barriers: "
        f"run {row['measured_seconds']:7.3f} s, "
        f"simulated {row['simulated_seconds']:7.3f} s ({row['error_percent']:+.2f} %), costs x {row['factor']:.1f}, "
        f"p2p {1e3 * row['messages']['p2p']:.1f} ms, C0 {1e3 * row['messages']['c0']:.1f} ms"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench emulated", description=__doc__.split("\n\n")[0])
    parser.add_argument("--ranks", default="4,8,16", help="numbers of ranks, default 4,8,16")
    parser.add_argument(
        "--schedules", default="1f1b", help=f"all, or some of {', '.join(names())}, with commas; default 1f1b"
    )
    parser.add_argument("--microbatches", type=int, help="per step; 2 p if left out")
    parser.add_argument(
        "--interval", type=float, help="seconds of one interval; 25 ms x p, at least 0.2, if left out"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps measured, the median counts; default 3")
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(list(arguments))
    if options.as_rank and joined():
        ranks = int(os.environ["WORLD_SIZE"])
        return rank_main(lambda: _as_rank(ranks, options))
    schedules = names() if options.schedules == "all" else options.schedules.split(",")
    if unknown := [name for name in schedules if name not in names()]:
        parser.error(f"unknown schedules {', '.join(unknown)}: choose from {', '.join(names())}")
    rows = []
    for ranks in (int(n) for n in options.ranks.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="pinisi-bench-"))
        m = options.microbatches or 2 * ranks
        interval = options.interval or max(0.2, 0.025 * ranks)
        more = [
            "--as-rank",
            "--microbatches",
            str(m),
            "--interval",
            str(interval),
            "--steps",
            str(options.steps),
            "--schedules",
            ",".join(schedules),
        ]
        code = launch(
            ["bench", "emulated", *more, "--json", str(folder / "rows.json")], ranks, folder, threads=1
        )
        if code:
            return code
        rows += json.loads((folder / "rows.json").read_text())["rows"]
        shutil.rmtree(folder)
    worst = max(rows, key=lambda row: abs(row["error_percent"]))
    print(
        f"largest error: {worst['error_percent']:+.2f} % ({worst['schedule']}, p = {worst['ranks']}, {worst['barriers']} barriers)"
    )
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        Path(options.json).write_text(json.dumps({"rows": rows}, indent=1))
    return 0


def _as_rank(ranks: int, options: argparse.Namespace) -> int:
    schedules = options.schedules.split(",")
    result = measure(ranks, options.microbatches, options.interval, options.steps, schedules)
    if dist.get_rank() == 0:
        Path(options.json).write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
    return 0
