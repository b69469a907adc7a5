"""Starts the processes of a benchmark, like the ranks of a run, and collects what they answer."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pinisi.base.errors import ConfigError
from pinisi.base.results import write_result
from pinisi.launch.supervisor import launch, rank_main
from pinisi.parallel.place import joined

AS_RANK = "--as-rank"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """By which `measured` tells the processes where their result goes, as `options.as_rank`."""
    parser.add_argument(AS_RANK, metavar="FILE", help=argparse.SUPPRESS)


def measured(
    name: str, arguments: Sequence[str], ranks: int, environment: Mapping[str, str] | None = None
) -> Any:
    """What rank 0 of so many `pinisi bench NAME ARGUMENTS` found (see `work_as_rank`). Exits where one fails, after a message that
    names its log, which stays."""
    if ranks < 1:
        raise ConfigError(f"--ranks {ranks}: a benchmark needs 1 or more; give a larger number.")
    folder = Path(tempfile.mkdtemp(prefix="pinisi-bench-"))
    out = folder / "result.json"
    again = ["bench", name, *arguments, AS_RANK, str(out)]
    if code := launch(again, ranks, folder, threads=1, environment=environment):
        raise SystemExit(code)
    result = json.loads(out.read_text())
    shutil.rmtree(folder)
    return result


def is_rank(options: argparse.Namespace) -> bool:
    return bool(options.as_rank) and joined()


def work_as_rank(options: argparse.Namespace, work: Callable[[], Any]) -> int:
    """Does the work on one thread, in one of the processes; rank 0 leaves what it found, the same on all, for `measured`."""

    def run() -> int:
        torch.set_num_threads(1)
        found = work()
        if os.environ["RANK"] == "0":
            Path(options.as_rank).write_text(json.dumps(found))
        dist.barrier()
        dist.destroy_process_group()
        return 0

    return rank_main(run)


def write_json(file: str | None, result: Any) -> None:
    """Where --json asks for it; - is standard output."""
    if file:
        write_result(file, json.dumps(result, indent=1) + "\n")
