"""Predicts measured iteration times from per-rank pass times: the model's test against other people's
machines.

The file is a CSV of the form of the artifact of arXiv 2411.05288 (a row per run; per-rank columns hold one
number for each stage, in microseconds; `iteration_ms` is what is predicted and is used for nothing else).

The model includes every pass on every rank at that rank's own time: F, BW, S, T, and the embedding's E and G
with a split vocabulary. p2p: the column's time for each activation and gradient message, where it isn't 0
(the baseline's runs were not profiled for it, so their messages are free). Collectives (C0, C1, U, C2) and
the embedding's messages have no column: they are free, and cost only what waiting for the slowest rank costs.
Not included: the optimizer's step, the data loader, anything that synchronises the GPU between passes.

S and T are given as one sum: by their FLOPs S : T = 2 : 1 with 1 barrier, 1 : 2 with 2 (section 4).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinisi.base.errors import PinisiError, ScheduleError
from pinisi.base.results import write_result
from pinisi.schedule.builders.build import build
from pinisi.schedule.builders.classic import one_f_one_b
from pinisi.schedule.costs import Costs
from pinisi.schedule.execution.simulate import simulate
from pinisi.schedule.execution.verify import verify
from pinisi.schedule.table import Layout, Schedule

_METHODS = {
    "baseline": 0,
    "redis": 0,
    "vocab-1": 2,
    "vocab-2": 1,
    "interlaced": 2,
}  # the artifact's names: barriers
_HEAD_S = {0: 0.0, 1: 2 / 3, 2: 1 / 3}  # S's share of S + T
_TIMES = ("F_us_per_rank", "B_us_per_rank")
_VOCABULARY_TIMES = ("ST_us_per_rank", "embed_fwd_us_per_rank", "embed_bwd_us_per_rank")


@dataclass(frozen=True)
class ProfileRow:
    """One measured run; times_us holds the per-rank columns."""

    line: int
    method: str
    vocab: int
    microbatches: int
    stages: int
    iteration_ms: float
    times_us: dict[str, tuple[float, ...]]


def read(path: str | Path) -> list[ProfileRow]:
    """Read the file; raises ScheduleError that names file, line and column of what is wrong."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [_row(path, reader.line_num, record) for record in reader]
    except OSError as error:
        raise ScheduleError(f"{path} can't be read ({error.strerror}): give a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScheduleError(f"{path} is no CSV text ({error})") from None
    if not rows:
        raise ScheduleError(f"{path}, line 1: no run below the header: expected one row per run")
    return rows


def _row(path: Path, line: int, record: dict[str, Any]) -> ProfileRow:
    def cell(column: str) -> str:
        text = record.get(column)
        if text is None or not text.strip():
            raise ScheduleError(f"{path}, line {line}, column {column}: nothing there: expected a value")
        return text.strip()

    def number(column: str, text: str, *, least: float = 0.0) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least:
            raise ScheduleError(
                f"{path}, line {line}, column {column}: '{text}': expected a number >= {least:g}"
            )
        return value

    def whole(column: str) -> int:
        value = number(column, cell(column), least=1)
        if value != int(value):
            raise ScheduleError(
                f"{path}, line {line}, column {column}: '{cell(column)}': expected a whole number"
            )
        return int(value)

    stages = whole("stages")

    def per_rank(column: str, required: bool) -> tuple[float, ...]:
        if not required and not (record.get(column) or "").strip():
            return (0.0,) * stages
        values = tuple(number(column, word) for word in cell(column).split())
        if len(values) != stages:
            raise ScheduleError(
                f"{path}, line {line}, column {column}: {len(values)} numbers: expected one for each of"
                f" {stages} stages"
            )
        return values

    method = cell("method")
    wanted = _TIMES + (_VOCABULARY_TIMES if _METHODS.get(method) else ())
    columns = (*_TIMES, *_VOCABULARY_TIMES, "p2p_us_per_rank")
    times = {column: per_rank(column, column in wanted) for column in columns}
    milliseconds = number("iteration_ms", cell("iteration_ms"))
    if not milliseconds:
        raise ScheduleError(f"{path}, line {line}, column iteration_ms: 0: expected the measured time")
    return ProfileRow(line, method, whole("vocab"), whole("microbatches"), stages, milliseconds, times)


def costs_of(row: ProfileRow) -> Costs:
    """The row's pass times, in seconds."""
    barriers = _METHODS[row.method]
    seconds = {name: [us / 1e6 for us in values] for name, values in row.times_us.items()}
    head = seconds["ST_us_per_rank"] if barriers else [0.0] * row.stages
    share = _HEAD_S[barriers]
    return Costs(
        forward=seconds["F_us_per_rank"],
        backward=seconds["B_us_per_rank"],
        head_s=[share * st for st in head],
        head_t=[(1 - share) * st for st in head],
        embedding_forward=seconds["embed_fwd_us_per_rank"] if barriers else 0.0,
        embedding_gradient=seconds["embed_bwd_us_per_rank"] if barriers else 0.0,
        p2p=seconds["p2p_us_per_rank"],
    )


def closed_form(costs: Costs, layout: Layout, microbatches: int) -> float:
    """Seconds: the busiest rank's passes x microbatches, and F and BW of all other ranks once."""
    each = [
        costs.at("forward", r) + costs.at("backward", r) + costs.at("weight", r) for r in range(layout.ranks)
    ]
    head = [costs.at("head_s", r) + costs.at("head_t", r) for r in range(layout.ranks)]
    ends = [costs.at("embedding_forward", r) + costs.at("embedding_gradient", r) for r in range(layout.ranks)]
    sums = [sum(parts) for parts in zip(each, head, ends, strict=True)]
    busiest = sums.index(max(sums))
    return sums[busiest] * microbatches + sum(each) - each[busiest]


def known(row: ProfileRow) -> bool:
    """Whether the row's method has a schedule here."""
    return row.method in _METHODS


def planned(row: ProfileRow) -> tuple[Layout, Costs]:
    """One stage a rank with the method's barriers, and what each pass took there, in seconds."""
    return Layout(tuple((rank,) for rank in range(row.stages)), _METHODS[row.method]), costs_of(row)


def compare(rows: Sequence[ProfileRow]) -> list[dict[str, Any]]:
    """Predict each row; errors are signed, in per cent of the measured time.

    A method that has no schedule here has status "unsupported" and None for what is predicted.
    """
    return [_compare(row) for row in rows]


def _compare(row: ProfileRow) -> dict[str, Any]:
    result: dict[str, Any] = {
        "method": row.method,
        "vocab": row.vocab,
        "stages": row.stages,
        "microbatches": row.microbatches,
        "barriers": _METHODS.get(row.method),
        "measured_ms": row.iteration_ms,
        "predicted_ms": None,
        "error_percent": None,
        "closed_form_ms": None,
        "closed_form_error_percent": None,
        "status": "unsupported",
    }
    if row.method not in _METHODS:
        return result
    costs = costs_of(row)
    schedule = _published(row, costs)
    verify(schedule)
    predicted = 1e3 * simulate(schedule, costs).makespan
    closed = 1e3 * closed_form(costs, schedule.layout, row.microbatches)
    return result | {
        "predicted_ms": predicted,
        "error_percent": 100 * (predicted / row.iteration_ms - 1),
        "closed_form_ms": closed,
        "closed_form_error_percent": 100 * (closed / row.iteration_ms - 1),
        "status": "ok",
    }


def _published(row: ProfileRow, costs: Costs) -> Schedule:
    """The schedule as those runs had it: with vocabulary passes a block that is repeated, its ends not filled."""
    if row.method == "interlaced":
        return build("interlaced", row.stages, row.microbatches, barriers=2, costs=costs)
    if not (barriers := _METHODS[row.method]):
        return build("1f1b", row.stages, row.microbatches, costs=costs)
    layout = Layout(tuple((rank,) for rank in range(row.stages)), barriers)
    costs.check(layout)
    return one_f_one_b(layout, row.microbatches, costs, fill=False)


def summarize(compared: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and worst absolute error over the supported rows, for the model and for the closed form."""
    supported = [row for row in compared if row["status"] == "ok"]
    summary: dict[str, Any] = {"rows": len(compared), "supported": len(supported)}
    for key in ("error_percent", "closed_form_error_percent"):
        errors = [abs(row[key]) for row in supported]
        summary[f"mean_abs_{key}"] = sum(errors) / len(errors) if errors else None
        summary[f"worst_abs_{key}"] = max(errors, default=None)
    return summary


def format_table(compared: Sequence[dict[str, Any]], summary: dict[str, Any]) -> str:
    """The comparison as text."""
    head = (
        "method",
        "vocab",
        "p",
        "m",
        "measured ms",
        "predicted ms",
        "error %",
        "closed form ms",
        "error %",
    )
    lines = [_line(head)]
    for row in compared:
        known = row["status"] == "ok"
        lines.append(
            _line(
                (
                    row["method"],
                    str(row["vocab"]),
                    str(row["stages"]),
                    str(row["microbatches"]),
                    f"{row['measured_ms']:.1f}",
                    f"{row['predicted_ms']:.1f}" if known else row["status"],
                    f"{row['error_percent']:+.2f}" if known else "",
                    f"{row['closed_form_ms']:.1f}" if known else "",
                    f"{row['closed_form_error_percent']:+.2f}" if known else "",
                )
            )
        )
    if summary["supported"]:
        lines.append(
            f"{summary['supported']} of {summary['rows']} rows:"
            f" mean |error| {summary['mean_abs_error_percent']:.2f} %,"
            f" worst {summary['worst_abs_error_percent']:.2f} %"
            f" (closed form: {summary['mean_abs_closed_form_error_percent']:.2f} %,"
            f" {summary['worst_abs_closed_form_error_percent']:.2f} %)"
        )
    else:
        lines.append(f"none of {summary['rows']} rows is supported: known methods are {', '.join(_METHODS)}")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    widths = (10, 8, 3, 5, 12, 13, 8, 15, 8)
    first, *rest = zip(cells, widths, strict=True)
    return first[0].ljust(first[1]) + "".join(text.rjust(width) for text, width in rest)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: FILE [--json FILE]. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="reference", description="Predict measured iteration times from per-rank pass times."
    )
    parser.add_argument("file", help="CSV of the form of arXiv 2411.05288's artifact")
    parser.add_argument("--json", metavar="FILE", help="write rows and summary there too")
    arguments = parser.parse_args(argv)
    try:
        compared = compare(read(arguments.file))
        summary = summarize(compared)
        print(format_table(compared, summary))
        if arguments.json:
            text = json.dumps({"rows": compared, "summary": summary}, indent=2)
            write_result(arguments.json, text + "\n")
    except PinisiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {arguments.json} can't be written ({error.strerror})", file=sys.stderr)
        return 1
    return 0
