"""`pinisi bench emulated`: compares measured with simulated steps, of real processes whose passes sleep for their cost.

Costs have the proportions of an 8-GPU profile with V = 256k (F : BW : S+T about 11.4 : 22.5 : 8 ms, from the artifact of
arXiv 2411.05288), scaled so that an interval takes `--interval` seconds and the processes, which share few cores, don't
disturb one another. The times of messages are measured in the same run, before the steps, and given to the simulator.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from statistics import median

import torch
import torch.distributed as dist

from pinisi.bench import processes, reference
from pinisi.engine.emulate import EmulatedWorker
from pinisi.engine.executor import Executor, gather_timeline
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import Costs, Layout, Schedule, build, layout_of, lower, names, simulate, verify
from pinisi.schedule.costs import PASS_COSTS
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
Case = tuple[str, Schedule, Costs, float]  # label, schedule, costs in seconds, how much longer than measured
Cases = Callable[[dict[str, float]], Iterator[Case]]  # of the seconds of messages


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
    everyone = gather_json(found)
    times = {name: median(row[name] for row in everyone) for name in found}
    times["u"] = times["c2"]
    return times


def measure(ranks: int, steps: int, cases: Cases) -> dict:
    """On every rank: one row per case."""
    device = torch.device("cpu")
    torch.set_num_threads(1)
    init_process_group("gloo", device)
    communicator = Communicator.connect([list(range(ranks))], device)
    assert communicator is not None
    messages = message_times(communicator)
    rows = []
    for label, schedule, costs, factor in cases(messages):
        row = _measured(communicator, schedule, costs, steps)
        rows.append({"schedule": label, **row, "factor": factor, "messages": messages})
        if communicator.rank == 0:
            print(_line(rows[-1]), flush=True)
    return {"rows": rows}


def _measured(communicator: Communicator, schedule: Schedule, costs: Costs, steps: int) -> dict:
    verify(schedule)
    program = lower(schedule, costs)
    executor = Executor(
        communicator,
        EmulatedWorker(schedule.layout, communicator.rank, costs, ELEMENTS),
        torch.device("cpu"),
    )
    lines = []
    for _ in range(steps):
        dist.barrier()
        spans = executor.step(program, record=True)
        lines.append(gather_timeline(schedule, spans, communicator))
    predicted = simulate(schedule, costs)
    ranks = range(schedule.layout.ranks)
    taken = median(line.makespan for line in lines)
    return {
        "ranks": len(ranks),
        "microbatches": schedule.microbatches,
        "barriers": schedule.layout.barriers,
        "measured_seconds": taken,
        "simulated_seconds": predicted.makespan,
        "error_percent": 100 * (predicted.makespan / taken - 1),
        "bubble": max(median(t.bubble(r) for t in lines) for r in ranks),
        "peak_activation": [max(t.peak_activation(r) for t in lines) for r in ranks],
    }


def of_profile(ranks: int, microbatches: int, interval: float, schedules: Sequence[str]) -> Cases:
    """Each schedule with 0, 1 and 2 barriers."""

    def cases(messages: dict[str, float]) -> Iterator[Case]:
        for name, barriers in product(schedules, (0, 1, 2)):
            if name == "interlaced" and not barriers:
                continue
            layout = layout_of(name, ranks, barriers=barriers)
            costs, factor = costs_of(layout, interval, messages)
            yield name, build(name, ranks, microbatches, barriers=barriers, costs=costs), costs, factor

    return cases


def of_reference(rows: Sequence[reference.ProfileRow], microbatches: int, interval: float) -> Cases:
    """Measured pass times of each rank, all longer by the factor that makes the first split row's interval `interval`."""

    def cases(messages: dict[str, float]) -> Iterator[Case]:
        given = [(row, *reference.planned(row)) for row in rows]
        split = next((costs.busiest(layout) for _, layout, costs in given if layout.barriers), None)
        factor = interval / (split or max(costs.busiest(layout) for _, layout, costs in given))
        for row, layout, costs in given:
            slower = {
                name: [each * factor for each in getattr(costs, name)]
                for name in PASS_COSTS
                if isinstance(getattr(costs, name), tuple)
            }
            longer = replace(costs, **slower, **messages)
            name = "interlaced" if row.method == "interlaced" else "1f1b"
            schedule = build(name, row.stages, microbatches, barriers=layout.barriers, costs=longer)
            yield row.method, schedule, longer, factor

    return cases


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
    parser.add_argument(
        "--reference",
        metavar="CSV",
        help="pass times of each rank from this file (of the form of bench reference)",
    )
    parser.add_argument(
        "--vocabulary", type=int, help="with --reference: which rows; the largest if left out"
    )
    parser.add_argument("--microbatches", type=int, help="per step; 2 p, or the file's, if left out")
    parser.add_argument(
        "--interval", type=float, help="seconds of one interval; 25 ms x p, at least 0.2, if left out"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps measured, the median counts; default 3")
    parser.add_argument("--json", help="write the rows to this file")
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    chosen = _chosen(options, parser)
    if processes.is_rank(options):
        return processes.work_as_rank(
            options, lambda: _rank_rows(int(os.environ["WORLD_SIZE"]), options, chosen)
        )
    rows = []
    for ranks in sorted({row.stages for row in chosen}) or [int(n) for n in options.ranks.split(",")]:
        rows += processes.measured("emulated", arguments, ranks)["rows"]
    worst = max(rows, key=lambda row: abs(row["error_percent"]))
    print(
        f"largest error: {worst['error_percent']:+.2f} % ({worst['schedule']}, p = {worst['ranks']}, {worst['barriers']} barriers)"
    )
    _ratios(rows)
    processes.write_json(options.json, {"rows": rows})
    return 0


def _chosen(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[reference.ProfileRow]:
    """The file's rows of the vocabulary asked for; none without a file. Ends with a message where something is wrong."""
    if unknown := [name for name in _schedules(options) if name not in names()]:
        parser.error(f"unknown schedules {', '.join(unknown)}: choose from {', '.join(names())}")
    if not options.reference:
        return []
    rows = reference.read(options.reference)
    vocabulary = options.vocabulary or max(row.vocab for row in rows)
    known = [row for row in rows if row.vocab == vocabulary and reference.known(row)]
    if not known:
        sizes = ", ".join(map(str, sorted({row.vocab for row in rows})))
        parser.error(f"{options.reference} has no row with vocabulary {vocabulary}: choose from {sizes}")
    return known


def _schedules(options: argparse.Namespace) -> list[str]:
    return names() if options.schedules == "all" else options.schedules.split(",")


def _ratios(rows: Sequence[dict]) -> None:
    """How many times longer the steps without a split vocabulary take."""
    for base in (row for row in rows if row["schedule"] in ("baseline", "redis")):
        others = (row for row in rows if row["ranks"] == base["ranks"] and row["barriers"])
        for row in others:
            measured = base["measured_seconds"] / row["measured_seconds"]
            print(
                f"{base['schedule']} takes {measured:.2f} x the step of {row['schedule']}, p = {row['ranks']}"
            )


def _rank_rows(ranks: int, options: argparse.Namespace, rows: Sequence[reference.ProfileRow]) -> dict:
    interval = options.interval or max(0.2, 0.025 * ranks)
    chosen = [row for row in rows if row.stages == ranks]
    if chosen:
        cases = of_reference(chosen, options.microbatches or chosen[0].microbatches, interval)
    else:
        cases = of_profile(ranks, options.microbatches or 2 * ranks, interval, _schedules(options))
    return measure(ranks, options.steps, cases)
