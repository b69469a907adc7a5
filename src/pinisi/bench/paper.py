"""`pinisi bench paper FILE`: predicts MFU and peak memory from the hardware's description alone, beside published tables.

FILE is a CSV with a row per run and the columns of `COLUMNS`; of its measured columns nothing is used for a prediction. The
models are GPTs as Megatron-LM has them, trained in fp16 with 16 bytes per parameter (2 weight, 2 gradient, 12 of the
optimizer: arXiv 2411.05288's fork without a distributed optimizer). "redis" is the best contiguous split by these costs.
The published schedules run without what Pinisi adds at a step's ends; both are the same table otherwise.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError, PinisiError, ScheduleError
from pinisi.base.results import write_result
from pinisi.costs.hardware import GIB, Hardware, read_hardware
from pinisi.costs.memory import rank_memory
from pinisi.costs.pass_costs import mfu, pass_costs, step_end
from pinisi.costs.rates import Rates
from pinisi.costs.shape import Shape, gpt_shape
from pinisi.costs.split import even_layers, redistributed_layers, rows_for
from pinisi.costs.work import Setting
from pinisi.schedule import build, layout_of, simulate

COLUMNS = (
    "schedule",
    "gpus",
    "layers",
    "heads",
    "hidden",
    "seq",
    "microbatch_size",
    "microbatches",
    "vocab",
    "method",
)
_MFU = re.compile(r"mfu_percent(?:_of_(\d+(?:\.\d+)?)_tflops)?")
_MEMORY = "peak_allocated_gb"
_OOM = "OOM"
_CLEAR = 2.0  # points of MFU from which on two methods count as different


@dataclass(frozen=True)
class PublishedCase:
    """One run of the table; record: its cells as they are. mfu and peak are None where the run was out of memory."""

    record: dict[str, str]
    schedule: str
    method: str
    gpus: int
    layers: int
    heads: int
    hidden: int
    seq: int
    microbatch_size: int
    microbatches: int
    vocab: int
    mfu: float | None
    peak: float | None
    flops: float | None  # the peak that the MFU is a share of, FLOP/s; the hardware's own if None

    @property
    def out_of_memory(self) -> bool:
        return _OOM in self.record.values()


def read(path: str | Path) -> list[PublishedCase]:
    """Read the file; raises ConfigError that names file, line and column."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            columns = _check_header(path, header)
            cases = [_case(path, reader.line_num, record, columns) for record in reader]
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror}): give a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no CSV text ({error})") from None
    if not cases:
        raise ConfigError(f"{path} has no run below its header")
    return cases


def _check_header(path: Path, header: list[str]) -> tuple[str | None, float | None]:
    """(the column of the MFU, the TFLOP/s that it is a share of)."""
    if missing := [name for name in COLUMNS if name not in header]:
        raise ConfigError(f"{path}, line 1: no column {missing[0]}: needed are {', '.join(COLUMNS)}")
    for name in header:
        if match := _MFU.fullmatch(name):
            return name, float(match[1]) * 1e12 if match[1] else None
    return None, None


def _case(
    path: Path, line: int, record: dict[str, Any], columns: tuple[str | None, float | None]
) -> PublishedCase:
    def wrong(column: str, wanted: str) -> ConfigError:
        return ConfigError(f"{path}, line {line}, column {column}: '{record.get(column)}': expected {wanted}")

    def whole(column: str) -> int:
        text = (record.get(column) or "").strip()
        if not text.isdigit() or int(text) < 1:
            raise wrong(column, "a whole number of at least 1")
        return int(text)

    def measured(column: str | None) -> float | None:
        text = (record.get(column or "") or "").strip()
        if not text or text == _OOM:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value < 1e6:
            raise wrong(column or "", f"a number above 0, {_OOM} or nothing")
        return value

    numbers = {name: whole(name) for name in COLUMNS if name not in ("schedule", "method")}
    cells = {name: str(value or "").strip() for name, value in record.items() if name}
    column, flops = columns
    return PublishedCase(
        cells,
        cells["schedule"],
        cells["method"],
        mfu=measured(column),
        peak=measured(_MEMORY),
        flops=flops,
        **numbers,
    )


def predict(case: PublishedCase, hardware: Hardware) -> dict[str, Any]:
    """predicted_mfu_percent, predicted_peak_gb (GiB), predicted_oom, predicted_step_s; status "unsupported" if not built."""
    shape = gpt_shape(case.hidden, case.layers, case.heads, case.vocab, case.seq)
    setting = Setting(
        case.seq, case.microbatch_size, "float16", masked=False, dense=True, gradient=2.0, state=12.0
    )
    last = ScheduleError("")
    for name, barriers in _ways(case):
        try:
            return _predict(case, hardware, shape, setting, name, barriers)
        except ScheduleError as error:
            last = error
    return {
        "status": "unsupported",
        "reason": str(last) or f"method '{case.method}' is not known",
        "predicted_mfu_percent": None,
        "predicted_peak_gb": None,
        "predicted_oom": None,
        "predicted_step_s": None,
    }


def _ways(case: PublishedCase) -> list[tuple[str, int]]:
    """The (schedule, barriers) that a method stands for, the first that can be built counts."""
    if case.method == "interlaced":
        return [("interlaced", barriers) for barriers in (2, 1, 0)]
    barriers = {"baseline": 0, "redis": 0, "1-barrier": 1, "2-barriers": 2}.get(case.method)
    return [] if barriers is None else [(case.schedule, barriers)]


def _predict(
    case: PublishedCase, hardware: Hardware, shape: Shape, setting: Setting, name: str, barriers: int
) -> dict[str, Any]:
    layout = layout_of(name, case.gpus, barriers=barriers)
    stages = layout.last_stage + 1
    layers = (
        _redistributed(shape, setting, hardware, stages)
        if case.method == "redis"
        else even_layers(case.layers, stages)
    )
    rows = rows_for([1.0] * case.gpus, 1.0, case.vocab)
    costs = pass_costs(shape, setting, hardware, layout, layers, rows)
    timeline = simulate(build(name, case.gpus, case.microbatches, barriers=barriers, costs=costs), costs)
    memory = rank_memory(shape, setting, hardware, timeline, layers, rows)
    step = timeline.makespan + step_end(shape, setting, hardware, layout, layers, rows)
    peak = case.flops or hardware.rate(setting.dtype)
    most = max(m.peak for m in memory)
    return {
        "status": "ok",
        "reason": "",
        "predicted_mfu_percent": 100 * mfu(shape, setting, case.microbatches, case.gpus, step, peak),
        "predicted_peak_gb": most / GIB,
        "predicted_oom": most > hardware.usable,
        "predicted_step_s": step,
    }


def _redistributed(shape: Shape, setting: Setting, hardware: Hardware, stages: int) -> list[int]:
    rates = Rates(shape, setting, hardware)
    head = sum(rates.undivided_head())
    embedding = sum(rates.embedding(shape.vocabulary, dense=True))
    return redistributed_layers([sum(rates.layer())] * shape.layers, stages, embedding, head)


def compare(
    cases: Sequence[PublishedCase], hardware: Hardware, *, progress: bool = False
) -> list[dict[str, Any]]:
    """Each row's cells, what is predicted, and errors: of the MFU in points, of the memory in per cent of the measured."""
    found = []
    for at, case in enumerate(cases, 1):
        if progress and sys.stderr.isatty():
            print(
                f"{at}/{len(cases)} {case.schedule} {case.method} {case.gpus} x {case.vocab}",
                end="\r",
                file=sys.stderr,
            )
        row: dict[str, Any] = {**_typed(case), **predict(case, hardware)}
        known = row["status"] == "ok"
        row["mfu_error_points"] = row["predicted_mfu_percent"] - case.mfu if known and case.mfu else None
        row["peak_error_percent"] = (
            100 * (row["predicted_peak_gb"] / case.peak - 1) if known and case.peak else None
        )
        row["oom_right"] = row["predicted_oom"] == case.out_of_memory if known else None
        found.append(row)
    return found


def _typed(case: PublishedCase) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for name, text in case.record.items():
        try:
            typed[name] = int(text) if re.fullmatch(r"\d+", text) else float(text)
        except ValueError:
            typed[name] = text
    return typed


def summarize(cases: Sequence[PublishedCase], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and worst absolute errors, out-of-memory cells, and of the pairs of methods that differ clearly how many are
    ranked right."""
    supported = [row for row in rows if row["status"] == "ok"]
    summary: dict[str, Any] = {"rows": len(rows), "supported": len(supported)}
    for key in ("mfu_error_points", "peak_error_percent"):
        errors = [abs(row[key]) for row in supported if row[key] is not None]
        summary[f"mean_abs_{key}"] = sum(errors) / len(errors) if errors else None
        summary[f"worst_abs_{key}"] = max(errors, default=None)
    summary["oom_measured"] = sum(case.out_of_memory for case in cases)
    summary["oom_right"] = sum(bool(row["oom_right"]) for row in supported)
    right, pairs = _ranked(cases, rows)
    summary["pairs"], summary["pairs_right"] = pairs, right
    summary["pairs_right_percent"] = 100 * right / pairs if pairs else None
    return summary


def _ranked(cases: Sequence[PublishedCase], rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    groups: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for case, row in zip(cases, rows, strict=True):
        if row["status"] == "ok" and case.mfu is not None:
            key = tuple(case.record[name] for name in COLUMNS if name != "method")
            groups[key].append((case.mfu, row["predicted_mfu_percent"]))
    signs = [
        (a[0] - b[0]) * (a[1] - b[1]) > 0
        for group in groups.values()
        for a, b in combinations(group, 2)
        if abs(a[0] - b[0]) > _CLEAR
    ]
    return sum(signs), len(signs)


def format_table(
    cases: Sequence[PublishedCase], rows: Sequence[dict[str, Any]], summary: dict[str, Any]
) -> str:
    """The comparison as text."""
    lines = [
        _line(
            (
                "schedule",
                "gpus",
                "layers",
                "hidden",
                "vocab",
                "method",
                "MFU %",
                "predicted",
                "points",
                "GB",
                "predicted",
                "%",
            )
        )
    ]
    for case, row in zip(cases, rows, strict=True):
        known = row["status"] == "ok"
        lines.append(
            _line(
                (
                    case.schedule,
                    *(str(n) for n in (case.gpus, case.layers, case.hidden, case.vocab)),
                    case.method,
                    _number(case.mfu, ".2f") or (_OOM if case.out_of_memory else ""),
                    _number(row["predicted_mfu_percent"], ".2f") if known else row["status"],
                    _number(row["mfu_error_points"], "+.2f"),
                    _number(case.peak, ".2f") or (_OOM if case.out_of_memory else ""),
                    _number(row["predicted_peak_gb"], ".2f") + (" " + _OOM if row["predicted_oom"] else ""),
                    _number(row["peak_error_percent"], "+.1f"),
                )
            )
        )
    return "\n".join([*lines, *_closing(summary)])


def _closing(summary: dict[str, Any]) -> list[str]:
    lines = [f"{summary['supported']} of {summary['rows']} rows could be predicted"]
    if summary["mean_abs_mfu_error_points"] is not None:
        lines.append(
            f"MFU: mean |error| {summary['mean_abs_mfu_error_points']:.2f} points,"
            f" worst {summary['worst_abs_mfu_error_points']:.2f}"
        )
    if summary["mean_abs_peak_error_percent"] is not None:
        lines.append(
            f"peak memory: mean |error| {summary['mean_abs_peak_error_percent']:.2f} %,"
            f" worst {summary['worst_abs_peak_error_percent']:.2f} %"
        )
    lines.append(
        f"out of memory or not: right in {summary['oom_right']} of {summary['supported']} rows"
        f" ({summary['oom_measured']} out of memory)"
    )
    if summary["pairs"]:
        lines.append(
            f"pairs of methods more than {_CLEAR:g} points apart: {summary['pairs_right']} of {summary['pairs']}"
            f" ranked right ({summary['pairs_right_percent']:.0f} %)"
        )
    return lines


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _line(cells: Sequence[str]) -> str:
    widths = (9, 5, 7, 7, 8, 11, 8, 12, 8, 8, 12, 7)
    first, *rest = zip(cells, widths, strict=True)
    return first[0].ljust(first[1]) + "".join(text.rjust(width) for text, width in rest)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: FILE [--hardware H] [--json FILE]. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="pinisi bench paper",
        description="Predict published MFU and peak memory from a hardware's description.",
    )
    parser.add_argument(
        "file", help="CSV of the form of the tables of arXiv 2411.05288: " + ", ".join(COLUMNS)
    )
    parser.add_argument(
        "--hardware", default="A100-80G", help="a preset or a TOML or JSON file (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="write rows and summary there too")
    arguments = parser.parse_args(argv)
    try:
        cases, hardware = read(arguments.file), read_hardware(arguments.hardware)
        rows = compare(cases, hardware, progress=True)
        summary = summarize(cases, rows)
        print(format_table(cases, rows, summary))
        if arguments.json:
            text = json.dumps({"hardware": hardware.name, "rows": rows, "summary": summary}, indent=2)
            write_result(arguments.json, text + "\n")
    except PinisiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {arguments.json} can't be written ({error.strerror})", file=sys.stderr)
        return 2
    return 0
