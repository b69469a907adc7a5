"""Draws from shards of 10^9 made-up documents in 100 files, beside small ones: seconds to open, steps a second, memory, resuming.

    python benchmarks/shards_scale.py --json benchmarks/results/shards_scale_cpu.json

Each measurement is a process of its own, and so is each resumption: it is told a state, and must draw
what the first drew behind it.
Files share their bounds (80 MB); --distinct gives each its own (8 GB on disk).
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pinisi.data import Microbatch, Sampler
from tests.data.made_up_shards import made_up_shards

SETTINGS = {"sequence": 4096, "batch": 4, "seed": 7, "data_rank": 1, "data_ranks": 4}
MICROBATCHES = 8  # of each of four data ranks: 524,288 tokens a step


def digest(batches: list[Microbatch]) -> str:
    total = hashlib.sha256()
    for microbatch in batches:
        for tensor in (microbatch.tokens, microbatch.targets, microbatch.documents):
            total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def kilobytes(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def measure(folder: str, steps: int, state: dict | None) -> dict:
    """Draws half of the steps, keeps the state, and draws the others; with a state only the others."""
    before, start = kilobytes("VmRSS"), time.perf_counter()
    sampler = Sampler(folder, **SETTINGS)
    if state is not None:
        sampler.restore(state)
    opened = time.perf_counter() - start
    for _ in range(steps // 2 if state is None else 0):
        sampler.step(MICROBATCHES)
    state, start = sampler.state(), time.perf_counter()
    drawn = [digest(sampler.step(MICROBATCHES)) for _ in range(steps // 2)]
    return {
        "open_seconds": opened,
        "steps_per_second": steps // 2 / (time.perf_counter() - start),
        "peak_mib": kilobytes("VmHWM") / 1024,
        "grown_mib": (kilobytes("VmHWM") - before) / 1024,
        "state": state,
        "state_bytes": len(json.dumps(state)),
        "drawn": drawn,
    }


def in_a_process(folder: Path, steps: int, state: dict | None = None) -> dict:
    asked = json.dumps({"folder": str(folder), "steps": steps, "state": state})
    done = subprocess.run([sys.executable, __file__, "--measure", asked], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10**9)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--measure")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(**json.loads(options.measure))))
        return
    with tempfile.TemporaryDirectory() as place:
        sizes = {"small": (10**5, 1), "large": (options.documents, options.files)}
        folders = {
            name: made_up_shards(Path(place, name), *size, distinct=options.distinct)
            for name, size in sizes.items()
        }
        rounds: list[dict] = []
        for _ in range(options.rounds):
            rounds.append({name: in_a_process(folder, options.steps) for name, folder in folders.items()})
            print({name: each["steps_per_second"] for name, each in rounds[-1].items()}, flush=True)
        best = {
            name: max((r[name] for r in rounds), key=lambda each: each["steps_per_second"])
            for name in folders
        }
        for name, found in best.items():
            found["documents"], found["files"] = sizes[name]
            again = in_a_process(folders[name], options.steps, found["state"])
            found["resumes_exactly"] = again["drawn"] == found.pop("drawn")
            found["resumed_open_seconds"] = again["open_seconds"]
        ratio = best["large"]["steps_per_second"] / best["small"]["steps_per_second"]
        result = {**best, "rate_against_small": ratio, "distinct": options.distinct, "rounds": options.rounds}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
