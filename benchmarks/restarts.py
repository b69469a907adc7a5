"""Measures what the death of a rank costs under torchrun: seconds from SIGKILL to the next finished step, in four parts.

    python benchmarks/restarts.py CONFIG [key=value ...] --kills 3 --json restarts.json

detect: until no rank of before is there; restart: processes, imports, joining and building; read: shards and checkpoint;
step: the first one. The steps since the checkpoint, which are lost too, are told beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from pinisi.base.files import write_whole
from pinisi.config import RunConfig, load
from pinisi.parallel import status
from pinisi.parallel.place import free_port

PARTS = ("detect", "restart", "read", "step")
LIMIT = 600.0  # seconds for any part


def command(options: argparse.Namespace, ranks: int, run: Path) -> list[str]:
    port = free_port()
    meeting = {
        "standalone": ["--standalone"],
        "c10d": ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}"],
        "static": ["--master-addr=127.0.0.1", f"--master-port={port}"],
    }[options.rendezvous]
    agent = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={ranks}"]
    train = ["-m", "pinisi", "train", options.config, *options.overrides, f"run.folder={run}"]
    return [*agent, f"--max-restarts={options.kills}", *train]


def until(what: Callable[[], bool]) -> float:
    """The time at which it was so."""
    end = time.monotonic() + LIMIT
    while not what():
        if time.monotonic() > end:
            raise SystemExit("error: the run did not go on; see what torchrun has printed")
        time.sleep(0.005)
    return time.monotonic()


def one_kill(folder: Path, ranks: int, victim: int, steps: int) -> dict[str, float]:
    """Waits for `steps` steps, kills a rank, and measures what follows."""

    def entries() -> dict[int, status.StatusEntry]:
        return status.read(folder, ranks)

    def in_step(least: int) -> bool:
        found = entries()
        return len(found) == ranks and all(e.step >= least and e.number >= 0 for e in found.values())

    until(lambda: in_step(0))
    first = entries()[0].step
    until(lambda: in_step(first + steps))
    before = entries()
    old = {e.process for e in before.values()}
    os.kill(before[victim].process, signal.SIGKILL)
    killed = time.monotonic()

    def new(what: Callable[[status.StatusEntry], bool]) -> bool:
        found = entries()
        return len(found) == ranks and all(e.process not in old and what(e) for e in found.values())

    gone = until(lambda: all(e.state in ("Z", "X") for e in before.values()))
    begun = until(lambda: new(lambda e: e.text.startswith("reading /") or e.step >= 0))
    read = until(lambda: new(lambda e: e.step >= 0))
    resumed = entries()[0].step
    done = until(lambda: new(lambda e: e.step > resumed))
    times = (killed, gone, begun, read, done)
    parts = dict(zip(PARTS, (b - a for a, b in pairwise(times)), strict=True))
    return {**parts, "total": done - killed, "lost_steps": before[0].step - resumed}


def measure(options: argparse.Namespace, config: RunConfig) -> list[dict[str, float]]:
    ranks = config.pipeline.ranks * (config.pipeline.data_parallel or 1)
    run = Path(tempfile.mkdtemp(prefix="pinisi-restarts-"))
    agent = subprocess.Popen(
        command(options, ranks, run), stdout=subprocess.DEVNULL, stderr=(run / "torchrun.log").open("w")
    )
    try:
        rows = [one_kill(run / "status", ranks, kill % ranks, options.steps) for kill in range(options.kills)]
    finally:
        agent.terminate()
        agent.wait()
    shutil.rmtree(run)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a run's TOML file, with more steps than are made here")
    parser.add_argument("overrides", nargs="*", help="key=value, such as checkpoint.every=10")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="steps between a start and a kill")
    parser.add_argument("--rendezvous", choices=("standalone", "c10d", "static"), default="standalone")
    parser.add_argument("--json", help="the same for programs")
    options = parser.parse_args()
    config = load(options.config, options.overrides)
    rows = measure(options, config)
    for row in rows:
        print(
            "  ".join(f"{name} {row[name]:.2f} s" for name in (*PARTS, "total")),
            f" {row['lost_steps']} steps again",
        )
    print(
        "median  "
        + "  ".join(f"{n} {statistics.median(r[n] for r in rows):.2f} s" for n in (*PARTS, "total"))
    )
    if options.json:
        record = {"rendezvous": options.rendezvous, "cores": os.cpu_count(), "kills": rows}
        write_whole(options.json, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
