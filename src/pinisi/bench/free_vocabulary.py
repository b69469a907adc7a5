"""`pinisi bench free-vocabulary`: measures what a larger vocabulary costs in speed beyond the arithmetic of its own rows.

Twice: by the planner, for one body on pipelines of eight H100s and copies of them, with and without vocabulary passes; and by
eight processes that exchange real messages while each pass sleeps for the planner's time, all longer by one factor. A step
of the larger vocabulary has more work, so what is compared is the model's own operations a second, not tokens.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.bench import processes
from pinisi.bench.emulated import Case, Cases, measure
from pinisi.costs.hardware import read_hardware
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting
from pinisi.plan.candidates import Request, open_chunks
from pinisi.plan.source import read_source
from pinisi.plan.vocabulary_sizes import PlannedSize, lost_beyond_flops, planned_size
from pinisi.schedule import Costs, build
from pinisi.schedule.costs import PASS_COSTS

# Thresholds, written down before the first run: the most that the largest vocabulary may cost with vocabulary passes, by plan
# and by emulated steps, and the most that a measured step may differ from the simulated one.
MOST_LOST = 0.03
MOST_ERROR_PERCENT = 3.0
RANKS = 8  # of a pipeline
SIZES = (151_936, 262_144, 524_288)


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(list(arguments))
    if processes.is_rank(options):
        given = json.loads(Path(options.cases).read_text())
        return processes.work_as_rank(options, lambda: measure(RANKS, options.steps, emulated_cases(given)))
    devices = [int(text) for text in options.devices.split(",")]
    if any(count % RANKS or count < RANKS for count in devices):
        raise ConfigError(
            f"--devices {options.devices}: each must be a multiple of {RANKS}, the ranks of a pipeline"
        )
    plans = planned(options, devices)
    faults = faults_of_plans(plans)
    rows = emulated([plan for plan in plans if plan.devices == devices[0]], options, arguments)
    faults += faults_of_steps(rows)
    processes.write_json(options.json, {"plans": [plan_values(plan) for plan in plans], "emulated": rows})
    print("\n".join(faults) if faults else "all floors hold")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinisi bench free-vocabulary", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--model", default="qwen3-8b", help="a preset or a config.json; default %(default)s")
    parser.add_argument("--hardware", default="H100", help="default %(default)s")
    parser.add_argument("--devices", default="8,16,32,64", help="default %(default)s")
    parser.add_argument("--sequence", type=int, default=4096, help="tokens; default %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="of planning for each size, with and without; default %(default)s",
    )
    parser.add_argument(
        "--factor", type=float, default=14.0, help="by which emulated passes are longer; default %(default)s"
    )
    parser.add_argument(
        "--steps", type=int, default=1, help="emulated steps of each case; default %(default)s"
    )
    parser.add_argument("--json", help="write the result to this file")
    parser.add_argument("--cases", help=argparse.SUPPRESS)
    processes.add_argument(parser)
    return parser


# -- by plan --------------------------------------------------------------------------------------------------------------


def planned(options: argparse.Namespace, devices: Sequence[int]) -> list[PlannedSize]:
    """Each size on each number of devices, with and without vocabulary passes; prints a line for each."""
    shape = shape_of(read_source(options.model).spec)
    found: list[PlannedSize] = []
    for count in devices:
        request = Request(
            shape,
            Setting(sequence=options.sequence),
            read_hardware(options.hardware),
            ranks=count,
            microbatches=(8 * count,),
            replicas=(count // RANKS,),
            seconds=options.seconds,
        )
        for split in (True, False):
            sizes = [planned_size(request, size, split=split) for size in SIZES]
            found += sizes
            for size in sizes:
                print(_plan_line(sizes[0], size), flush=True)
    return found


def _plan_line(first: PlannedSize, size: PlannedSize) -> str:
    way = "with vocabulary passes" if size.split else "without"
    return (
        f"{size.devices:3} devices, {size.vocabulary:7,} rows, {way:22}: {size.tokens_per_second:9,.0f} tokens/s "
        f"({size.row.candidate.label}), lost beyond FLOPs {100 * lost_beyond_flops(first, size):5.1f} %"
    )


def faults_of_plans(plans: Sequence[PlannedSize]) -> list[str]:
    """A line for each number of devices where the largest vocabulary costs too much with vocabulary passes."""
    faults = []
    for count in sorted({plan.devices for plan in plans}):
        sizes = [plan for plan in plans if plan.split and plan.devices == count]
        lost = lost_beyond_flops(sizes[0], sizes[-1])
        if lost > MOST_LOST:
            faults.append(
                f"by plan, {count} devices: {100 * lost:.1f} % lost, at most {100 * MOST_LOST:g} % allowed"
            )
    return faults


def plan_values(plan: PlannedSize) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "devices": plan.devices,
        "vocabulary": plan.vocabulary,
        "vocabulary_passes": plan.split,
        "way": plan.row.candidate.label,
        "tokens_per_s": plan.tokens_per_second,
        "flops_per_token": plan.flops_per_token,
        "mfu_percent": 100 * plan.row.mfu,
        "step_s": plan.row.step,
        "peak_bytes": max(plan.row.peaks),
    }


# -- by emulated passes ---------------------------------------------------------------------------------------------------


def emulated(
    plans: Sequence[PlannedSize], options: argparse.Namespace, arguments: Sequence[str]
) -> list[dict[str, Any]]:
    """Steps of eight processes, one case for each plan; each row has its plan's values beside the measured seconds."""
    with tempfile.TemporaryDirectory(prefix="pinisi-bench-") as folder:
        file = Path(folder) / "cases.json"
        file.write_text(json.dumps([case_values(plan, options.factor) for plan in plans]))
        rows = processes.measured(
            "free-vocabulary", [*arguments, "--cases", str(file)], RANKS, {"OMP_NUM_THREADS": "1"}
        )["rows"]
    tokens = options.sequence * plans[0].row.candidate.microbatches
    return [with_rate(row, plan, tokens) for row, plan in zip(rows, plans, strict=True)]


def case_values(plan: PlannedSize, factor: float) -> dict[str, Any]:
    """What the processes need to build a plan's schedule and its costs: plain values."""
    c = plan.row.candidate
    return {
        "label": f"{plan.vocabulary:,} rows, {c.name}",
        "schedule": c.name,
        "chunks": open_chunks(c),
        "barriers": c.barriers,
        "microbatches": c.microbatches,
        "factor": factor,
        "costs": {name: longer(getattr(c.costs, name), factor) for name in PASS_COSTS},
    }


def longer(seconds: Any, factor: float) -> Any:
    """All numbers of a cost times the factor; lists for tuples, as JSON has them."""
    if isinstance(seconds, list | tuple):
        return [longer(each, factor) for each in seconds]
    return seconds * factor


def emulated_cases(given: Sequence[dict[str, Any]]) -> Cases:
    """The cases of the file, with the times of messages that were measured here."""

    def cases(messages: dict[str, float]) -> Iterator[Case]:
        for case in given:
            costs = dataclasses.replace(Costs(**case["costs"]), **messages)
            schedule = build(
                case["schedule"],
                RANKS,
                case["microbatches"],
                chunks=case["chunks"],
                barriers=case["barriers"],
                costs=costs,
            )
            yield case["label"], schedule, costs, case["factor"]

    return cases


def with_rate(row: dict[str, Any], plan: PlannedSize, tokens: int) -> dict[str, Any]:
    """The row with its plan's size and the model's own operations a second, in units of the unstretched passes."""
    useful = tokens * plan.flops_per_token / (row["measured_seconds"] / row["factor"])
    return {
        **row,
        "vocabulary": plan.vocabulary,
        "vocabulary_passes": plan.split,
        "useful_flops_per_s": useful,
    }


def faults_of_steps(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Prints what each larger vocabulary costs in measured steps; returns a line for each floor that falls short."""
    faults = [
        f"{row['schedule']}: the simulated step is {row['error_percent']:+.1f} % off the measured one, at most "
        f"{MOST_ERROR_PERCENT:g} % allowed"
        for row in rows
        if abs(row["error_percent"]) > MOST_ERROR_PERCENT
    ]
    for split in (True, False):
        sizes = [row for row in rows if row["vocabulary_passes"] is split]
        for row in sizes[1:]:
            lost = 1 - row["useful_flops_per_s"] / sizes[0]["useful_flops_per_s"]
            print(
                f"emulated, {row['vocabulary']:,} rows, with{'' if split else 'out'} vocabulary passes: lost beyond FLOPs "
                f"{100 * lost:.1f} %"
            )
            if split and lost > MOST_LOST:
                faults.append(
                    f"emulated, {row['vocabulary']:,} rows: {100 * lost:.1f} % lost, at most {100 * MOST_LOST:g} % allowed"
                )
    return faults
