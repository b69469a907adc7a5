"""Times tokenizing with more and more processes, in turn, and compares what they write byte for byte.

    python benchmarks/tokenize_workers.py TEXT TOKENIZER --json benchmarks/results/tokenize_workers_cpu.json

Each round runs every number of workers once, in a process of its own, so that what else the machine does strikes all alike; ratios
are of the rounds' medians. Processor seconds are of all processes of a run: what more of them than with one worker is overhead.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pinisi.base.digests import of_file

PROGRAM = "import sys; from pinisi.data import tokenize; tokenize(*sys.argv[1:4], workers=int(sys.argv[4]))"


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(text: str, tokenizer: str, out: Path, workers: int) -> dict[str, float]:
    start, before = time.perf_counter(), processor_seconds()
    command = [sys.executable, "-c", PROGRAM, text, tokenizer, str(out), str(workers)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": processor_seconds() - before,
        "one_minute_load": float(Path("/proc/loadavg").read_text().split()[0]),
    }


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): of_file(path) for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("tokenizer")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    numbers = [int(number) for number in options.workers.split(",")]
    rounds: dict[int, list[dict[str, float]]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(options.rounds):
            for number in numbers:
                rounds[number].append(
                    timed(options.text, options.tokenizer, Path(place, f"{number}-{turn}"), number)
                )
                print(number, rounds[number][-1], flush=True)
        found = [content(folder) for folder in sorted(Path(place).iterdir())]
        size = sum(path.stat().st_size for path in Path(options.text).rglob("*") if path.is_file())
    median = {number: statistics.median(each["seconds"] for each in rounds[number]) for number in numbers}
    result = {
        "text_megabytes": size / 1e6,
        "rounds": rounds,
        "times_as_fast_as_the_first": {number: median[numbers[0]] / median[number] for number in numbers},
        "same_bytes": all(each == found[0] for each in found),
    }
    print(json.dumps({key: value for key, value in result.items() if key != "rounds"}, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
