"""`pinisi bench sharded`: holds an optimizer shared out over replicas (ZeRO-1) against a whole one on each.

The same weights, a share of the bytes, runs that are killed and go on with another number of replicas, faults planted in programs;
and what a step takes on a limited link with sums of gradients among its passes. Exit code 1 where a [C] falls short.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pinisi.base.errors import ScheduleError
from pinisi.bench import processes, sharded_exact, sharded_link, sharded_resume
from pinisi.schedule import Message, MessageChannel, Op, Pass, build, lower, names
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.verify import verify_program
from pinisi.schedule.needs import adders
from pinisi.schedule.program import Instruction, Program

# Written down before it was measured.
MOST_APART = 1e-12  # of three replicas' weights in fp64, relative to the largest weight of a tensor
MOST_RESUMED = (
    1e-12  # of weights and moments, norm by norm, of a run that was killed and went on with other replicas
)
MOST_BEYOND = 0.03  # of the optimizer's bytes a rank may have more or less than 1 / d of, as a share of 1 / d
MOST_SLOWER = 0.02  # [T] of a step that sums among passes may cost
SEEDS = (0, 1, 2)  # 7 was for trying things out
PARTS = ("two", "three", "link")  # what processes are started for, and how many
RANKS = {
    "two": 2 * sharded_exact.PIPELINE,
    "three": 3 * sharded_exact.PIPELINE,
    "link": sharded_link.REPLICAS * sharded_link.PIPELINE,
}


def planted() -> list[dict[str, Any]]:
    """Four kinds of faults in the program of every schedule with every number of barriers, and whether each is refused."""
    found = []
    for name in names():
        for barriers in (0, 1, 2) if name != "interlaced" else (1, 2):
            for tied in (False, True):
                program = with_reductions(lower(build(name, 2, 4, barriers=barriers)), tied=tied)
                accepted = _refusal(program) is None
                for kind, wrong in faults(program):
                    refused = _refusal(wrong) is not None
                    found.append(
                        {
                            "schedule": name,
                            "barriers": barriers,
                            "kind": kind,
                            "refused": refused,
                            "right": accepted,
                        }
                    )
    return found


def faults(program: Program) -> Iterator[tuple[str, Program]]:
    """The kind of a fault, and the program with it, at each sum of each rank."""
    layout = program.schedule.layout
    for rank, row in enumerate(program.instructions):
        sums = [x for x in row if _is_sum(x) and x.op is Op.LAUNCH]
        for launch in sums:
            rest = [x for x in row if x is not launch]
            types = adders(launch.what.stage, rank, layout)  # type: ignore[union-attr]
            last = max(at for at, x in enumerate(rest) if isinstance(x.what, Pass) and x.what[:2] in types)
            yield "missing", _with_row(program, rank, rest)
            yield (
                "twice",
                _with_row(program, rank, [*row[: row.index(launch)], launch, *row[row.index(launch) :]]),
            )
            yield "too early", _with_row(program, rank, [*rest[:last], launch, *rest[last:]])
        if len(sums) > 1:
            end = [x for x in row if not _is_sum(x)]
            waits = [x for x in row if _is_sum(x) and x.op is Op.WAIT]
            yield "another order", _with_row(program, rank, [*end, *reversed(sums), *waits])


def _is_sum(instruction: Instruction) -> bool:
    what = instruction.what
    return isinstance(what, Message) and what.channel is MessageChannel.REDUCE


def _with_row(program: Program, rank: int, row: Sequence[Instruction]) -> Program:
    rows = [tuple(each) for each in program.instructions]
    rows[rank] = tuple(row)
    return replace(program, instructions=tuple(rows))


def _refusal(program: Program) -> str | None:
    try:
        verify_program(program)
    except ScheduleError as error:
        return str(error)
    return None


def verdicts(
    exact: Sequence[dict[str, Any]],
    control: Sequence[dict[str, Any]],
    resumed: Sequence[dict[str, Any]],
    refused: Sequence[dict[str, Any]],
    link: Sequence[dict[str, Any]],
) -> list[tuple[str, bool]]:
    """Every demand in a line, and whether it is met by the worst of the seeds."""
    two = [row for row in exact if row["replicas"] == 2]
    three = [row for row in exact if row["replicas"] == 3]
    fp64 = [row["worst"] for row in three if row["dtype"] == "float64"]
    beyond = max(abs(share * row["replicas"] - 1) for row in exact for share in row["shares"])
    worst = max(value for row in resumed for value in row["worst"].values())
    missed = [row for row in refused if not (row["refused"] and row["right"])]
    slowest = max(link, key=lambda row: row["during_seconds"] / row["after_seconds"])
    return [
        (
            f"[C] two replicas of two ranks: {sum(row['bits'] for row in two)} of {len(two)} trainings give the same bits with "
            "the optimizer whole, shared out, and summed after all passes",
            all(row["bits"] for row in two),
        ),
        (
            f"[C] three replicas in fp64: weights differ by {max(fp64):.1e} at most, {MOST_APART:.0e} allowed; the same bits with "
            "sums among passes and after them",
            max(fp64) <= MOST_APART and all(row["after_bits"] for row in three),
        ),
        (
            f"[C] control: sums launched before the last pass give other weights in {sum(row['differs'] for row in control)} of "
            f"{len(control)} trainings",
            all(row["differs"] for row in control),
        ),
        (
            f"[C] optimizer bytes of a rank are 1 / d, off by {100 * beyond:.1f} % of that, {100 * MOST_BEYOND:.0f} % allowed",
            beyond <= MOST_BEYOND,
        ),
        (
            f"[C] killed and gone on with by other replicas: weights and moments differ by {worst:.1e} at most, "
            f"{MOST_RESUMED:.0e} allowed",
            worst <= MOST_RESUMED and all(row["same_names"] for row in resumed),
        ),
        (
            f"[C] {len(refused) - len(missed)} of {len(refused)} planted faults are refused",
            not missed and bool(refused),
        ),
        (
            f"[T] no step is longer with sums among its passes: {slowest['schedule']} by {-100 * slowest['saved']:+.1f} %, "
            f"{100 * MOST_SLOWER:.0f} % allowed; {_saved(link)}",
            -slowest["saved"] <= MOST_SLOWER,
        ),
    ]


def _saved(link: Sequence[dict[str, Any]]) -> str:
    found = []
    for name in dict.fromkeys(row["schedule"] for row in link):
        worst = min((row for row in link if row["schedule"] == name), key=lambda row: row["saved"])
        found.append(f"{name} saves {100 * worst['saved']:.1f} ({100 * worst['simulated_saved']:.1f}) %")
    return "measured (simulated): " + ", ".join(found)


def _rank_work(part: str, seeds: Sequence[int], steps: int) -> dict[str, Any]:
    return sharded_link.measure(seeds, steps) if part == "link" else sharded_exact.measure(RANKS[part], seeds)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pinisi bench sharded", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="default 0,1,2")
    parser.add_argument(
        "--steps", type=int, default=1, help="on the link, of each way; the median counts (1)"
    )
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if processes.is_rank(options):
        return processes.work_as_rank(options, lambda: _rank_work(options.part, seeds, options.steps))
    found = {part: _measured(part, arguments) for part in PARTS}
    exact = found["two"]["rows"] + found["three"]["rows"]
    control = found["two"]["control"] + found["three"]["control"]
    resumed = sharded_resume.measure(seeds)
    refused = planted()
    for text in [*map(sharded_exact.line, exact), *map(sharded_resume.line, resumed)]:
        print(text)
    link = found["link"]["rows"]
    judged = verdicts(exact, control, resumed, refused, link)
    for text, met in judged:
        print(f"{'met' if met else 'NOT MET'}: {text}")
    kinds = {
        kind: sum(row["kind"] == kind for row in refused)
        for kind in dict.fromkeys(row["kind"] for row in refused)
    }
    result = {
        "verdicts": [{"demand": text, "met": met} for text, met in judged],
        "exactness": exact,
        "control": control,
        "resumed": resumed,
        "planted_faults": kinds,
        "link": {**found["link"], "bytes_per_second": sharded_link.LINK, "model": sharded_link.MODEL},
    }
    processes.write_json(options.json, result)
    return 0 if all(met for text, met in judged if not text.startswith("[T]")) else 1


def _measured(part: str, arguments: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = processes.measured(
        "sharded", [*arguments, "--part", part], RANKS[part], {"OMP_NUM_THREADS": "1"}
    )
    return found
