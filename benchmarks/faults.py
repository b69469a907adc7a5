"""What runs come through.

    python benchmarks/faults.py [--seed N] [--runs 100] [--minutes 30] [--folder FOLDER] [--json FILE] [--kinds a,b]

A tiny model is trained by `pinisi train` on 2, 3 or 4 ranks, in 1 or 2 replicas, with a fault in each run: a signal, a full disk,
a damaged file, a second run. It strikes at a drawn moment: while the ranks join, while the model is built, in a step, while a
checkpoint is saved. Then the same command is given again until the run has ended, and its losses are compared bit for bit with
those of a run that nothing interrupted. The table counts by kind what went wrong, with Wilson's 95 % interval of the share of
runs in which anything did; the exit code is 1 if there is one.

What was judged is kept in FOLDER/judged.jsonl and not done again with the same seed. The folders of runs that failed stay.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from fault_judge import FAILURES, Case, Lab, drawn_cases, judge
from fault_kinds import KINDS
from intervals import wilson

from pinisi.base.files import write_whole
from pinisi.data import tokenize
from tests.data.conftest import write_corpus, write_tokenizer
from tests.engine.runs import CONFIG

STEPS = 12
SETTINGS = ("checkpoint.every=3", "checkpoint.keep=3", "evaluation.every=4")


def make_project(folder: Path) -> Path:
    if not (folder / "config.toml").exists():
        write_corpus(folder / "text")
        write_tokenizer(folder / "tokenizer")
        tokenize(folder / "text", folder / "tokenizer", folder / "shards", report=lambda _: None)
        write_whole(folder / "config.toml", CONFIG.format(folder=folder))
    return folder


def judged_before(file: Path, seed: int) -> dict[tuple[int, str], dict[str, Any]]:
    rows = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:  # torn by a kill
            continue
        if row["seed"] == seed:
            rows[row["number"], row["kind"]] = row
    return rows


def judged(lab: Lab, cases: list[Case], file: Path, minutes: float) -> Iterator[dict[str, Any]]:
    """Each case's row, as it is judged or was before, until time is up."""
    before, began, done = judged_before(file, cases[0].seed), time.monotonic(), 0
    for number, case in enumerate(cases):
        if (case.number, case.kind) in before:
            yield before[case.number, case.kind]
            continue
        spent = time.monotonic() - began
        if spent > 60 * minutes:
            print(f"time is up: {len(cases) - number} of {len(cases)} runs are left", flush=True)
            return
        each = spent / done if done else 25.0
        eta = min(60 * minutes - spent, each * (len(cases) - number))
        row = judge(lab, case).as_row(case)
        done += 1
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")
        verdict = ", ".join(row["failures"]) or ("ok" if row["struck"] else "ok (ended before it was struck)")
        where = f"{case.ranks} x {case.replicas} ranks, {case.moment.phase}"
        print(
            f"{number + 1}/{len(cases)} {case.kind} ({where}; {row['note']}): {verdict}, {row['seconds']:.0f} s, "
            f"ETA {eta / 60:.0f} min",
            flush=True,
        )
        for what, seen in row["failures"].items():
            print(f"    {what}: {seen.strip()}", flush=True)
        yield row


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By kind, and for all: runs, those that were struck, each failure's count, the share that failed and its interval."""
    lines = []
    for kind in [*KINDS, "all"]:
        of_kind = [row for row in rows if kind in (row["kind"], "all")]
        if not of_kind:
            continue
        failed = sum(bool(row["failures"]) for row in of_kind)
        low, high = wilson(failed, len(of_kind))
        counts = {what: sum(what in row["failures"] for row in of_kind) for what in FAILURES}
        struck = sum(row["struck"] for row in of_kind)
        unevaluated = sum(not row["evaluated"] for row in of_kind)
        line = {"kind": kind, "runs": len(of_kind), "struck": struck, **counts, "failed": failed}
        lines.append(line | {"low": round(low, 3), "high": round(high, 3), "unevaluated": unevaluated})
    return lines


def show(lines: list[dict[str, Any]]) -> None:
    names = ("runs", "struck", *FAILURES, "failed")
    print(f"{'kind':30}" + "".join(f"{name:>14}" for name in names) + "   share that failed")
    for line in lines:
        cells = "".join(f"{line[name]:14}" for name in names)
        print(f"{line['kind']:30}{cells}   {line['low']:.0%} to {line['high']:.0%}")
    for name, text in FAILURES.items():
        print(f"{name}: {text}")
    if lines and lines[-1]["unevaluated"]:
        print(
            f"{lines[-1]['unevaluated']} runs ended without the held-out loss after the last step (not counted as failed)"
        )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the runs are; one of the seed's own in the temporary folder if left out",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of them, a comma between two")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.kinds = options.kinds.split(",")
    if wrong := [kind for kind in options.kinds if kind not in KINDS]:
        parser.error(f"no kind {wrong[0]!r}; there are: {', '.join(KINDS)}")
    return options


def main() -> int:
    options = read_arguments()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # a shell's background jobs ignore SIGINT, and so would the runs
        signal.signal(number, signal.default_int_handler)
    folder = (options.folder or Path(tempfile.gettempdir()) / f"pinisi-faults-{options.seed}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(make_project(folder / "project"), folder, STEPS, SETTINGS)
    rows = []
    try:
        for row in judged(
            lab,
            drawn_cases(options.seed, options.runs, options.kinds, STEPS),
            folder / "judged.jsonl",
            options.minutes,
        ):
            rows.append(row)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", flush=True)
    lines = table(rows)
    show(lines)
    if options.json:
        machine = {
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "platform": platform.platform(),
        }
        result = {
            "command": " ".join(sys.argv),
            "seed": options.seed,
            "machine": machine,
            "table": lines,
            "rows": rows,
        }
        write_whole(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return int(any(row["failures"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
