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
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist

from pinisi.engine.comm import Communicator, init_process_group
from pinisi.engine.emulate import EmulatedWorker
from pinisi.engine.executor import Executor, gather_timeline
from pinisi.engine.launch import joined, launch, rank_main
from pinisi.schedule import Costs, build, lower, simulate, verify
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


def measure(ranks: int, microbatches: int, interval: float, steps: int) -> dict:
    """On every rank: one row per number of barriers."""
    device = torch.device("cpu")
    torch.set_num_threads(1)
    init_process_group("gloo", device)
    communicator = Communicator.connect([list(range(ranks))], device)
    assert communicator is not None
    messages = message_times(communicator)
    rows = []
    for barriers in (0, 1, 2):
        given, factor = profile(barriers, interval)
        if barriers == 0:
            given = _whole_ends(given, ranks, interval)
        costs = Costs(**given, **messages)
        schedule = build("1f1b", ranks, microbatches, barriers=barriers, costs=costs)
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


def _whole_ends(costs: dict[str, float], ranks: int, interval: float) -> dict:
    """0 barriers: the last rank's passes hold the whole head (p shards' S + T, a third of it forward)."""
    _, factor = profile(0, interval)
    head = PROFILE["head"] / 1e3 * factor * ranks
    return {
        "forward": [costs["forward"]] * (ranks - 1) + [costs["forward"] + head / 3],
        "backward": [costs["backward"]] * (ranks - 1) + [costs["backward"] + head * 2 / 3],
    }


def _line(row: dict) -> str:
    return (
        f"p = {row['ranks']:2}, m = {row['microbatches']:2}, {row['barriers']} barriers: run {row['measured_seconds']:7.3f} s, "
        f"simulated {row['simulated_seconds']:7.3f} s ({row['error_percent']:+.2f} %), costs x {row['factor']:.1f}, "
        f"p2p {1e3 * row['messages']['p2p']:.1f} ms, C0 {1e3 * row['messages']['c0']:.1f} ms"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench emulated", description=__doc__.split("\n\n")[0])
    parser.add_argument("--ranks", default="4,8,16", help="numbers of ranks, default 4,8,16")
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
        f"largest error: {worst['error_percent']:+.2f} % (p = {worst['ranks']}, {worst['barriers']} barriers)"
    )
    if options.json:
        Path(options.json).write_text(json.dumps({"rows": rows}, indent=1))
    return 0


def _as_rank(ranks: int, options: argparse.Namespace) -> int:
    result = measure(ranks, options.microbatches, options.interval, options.steps)
    if dist.get_rank() == 0:
        Path(options.json).write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
    return 0
