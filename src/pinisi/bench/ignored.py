"""`pinisi bench ignored`: times the head when a share of the tokens has no target, as prompts and padding have none.

Ignored tokens never reach C0, S, T or C1 (row compaction). Real processes and arithmetic, one model, the shares in turns: seconds
of S and T and bytes of C0, C1 and U or C2 on the rank that has most, beside what they are with every token a target.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch.distributed as dist

from pinisi.base.ids import IGNORE
from pinisi.bench import processes
from pinisi.bench.pipeline import Bench, BenchSetting
from pinisi.data.batches import Microbatch
from pinisi.parallel.agree import gather_json
from pinisi.schedule import Kind
from pinisi.schedule.program import MessageChannel

_CHANNELS = [MessageChannel[name].value for name in ("C0", "C1", "U", "C2")]


def masked(batch: Sequence[Microbatch], share: float) -> list[Microbatch]:
    """The same microbatches with this share of their tokens ignored: the first ones, as a prompt is."""
    result = []
    for microbatch in batch:
        targets = microbatch.targets.clone()
        targets[:, : round(share * targets.shape[1])] = IGNORE
        result.append(replace(microbatch, targets=targets))
    return result


def measure(setting: BenchSetting, barriers: int, shares: Sequence[float]) -> list[dict]:
    """On each rank the rows; equal on all."""
    bench = Bench(setting)
    engine = bench.engine(str(barriers))
    batches = {share: masked(bench.batch, share) for share in shares}
    seconds: dict[float, list[float]] = {share: [] for share in shares}
    sent = dict.fromkeys(shares, 0)
    for round_ in range(setting.rounds + 1):
        for share, batch in batches.items():
            engine.communicator.bytes_sent.clear()
            dist.barrier()
            result = engine.gradients(batch, record=True)
            engine.optimizer.zero()
            if round_:  # the first step pays for memory and kernels
                head = (s.end - s.start for s in result.spans if s.pass_.kind in (Kind.S, Kind.T))
                seconds[share].append(sum(head))
            sent[share] = sum(engine.communicator.bytes_sent[channel] for channel in _CHANNELS)
    everyone = gather_json([(median(seconds[share]), sent[share]) for share in shares])
    rows = []
    for at, share in enumerate(shares):
        row = {"ignored": share, "head_seconds": max(found[at][0] for found in everyone)}
        rows.append(row | {"head_bytes": max(found[at][1] for found in everyone)})
    for row in rows:
        for key in ("head_seconds", "head_bytes"):
            row[f"{key}_saved"] = 1 - row[key] / rows[0][key]
    return rows


def table(rows: Sequence[dict]) -> str:
    lines = [
        f"{'ignored':>8} {'S + T, ms a step':>17} {'saved':>7} {'C0, C1, U or C2, MiB a step':>29} {'saved':>7}"
    ]
    for row in rows:
        time, size = (f"{100 * row[key]:6.1f}%" for key in ("head_seconds_saved", "head_bytes_saved"))
        ms, mib = 1e3 * row["head_seconds"], row["head_bytes"] / 2**20
        lines.append(f"{100 * row['ignored']:7.0f}% {ms:17.1f} {time} {mib:29.2f} {size}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench ignored", description=__doc__.split("\n\n")[0])
    usual = BenchSetting(layers=2, microbatches=4)
    for name, value in vars(usual).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--barriers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--shares", default="0.5,0.8", help="of tokens ignored, default 0.5,0.8")
    parser.add_argument("--json", help="write the rows to this file")
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    setting = BenchSetting(**{name: getattr(options, name) for name in vars(usual)})
    try:
        shares = [0.0, *(float(share) for share in options.shares.split(",") if share)]
    except ValueError:
        parser.error(
            f"--shares {options.shares}: give numbers from 0 to below 1 with commas, such as 0.5,0.8"
        )
    if not all(0 <= share < 1 for share in shares):
        parser.error(f"--shares {options.shares}: each must be from 0 to below 1")
    if processes.is_rank(options):
        return processes.work_as_rank(options, lambda: measure(setting, options.barriers, shares))
    rows = processes.measured("ignored", arguments, setting.ranks)
    print(
        f"p = {setting.ranks}, {options.barriers} barriers, h = {setting.hidden}, V = {setting.vocabulary}, "
        f"{setting.sequence} tokens x {setting.microbatches}, {setting.dtype}; medians of {setting.rounds} rounds"
    )
    print(table(rows))
    processes.write_json(
        options.json, {"setting": vars(setting) | {"barriers": options.barriers}, "rows": rows}
    )
    return 0
