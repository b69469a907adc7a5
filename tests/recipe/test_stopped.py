"""A recipe that was struck in the middle leaves no worker, says one thing, and goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recipe.squares import Squares, run

RESULT = sum(n * n for n in range(3, 10))
LIMIT = 60.0  # seconds, on a machine that others use


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(happened) -> None:
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pids: list[int]) -> list[int]:
    """Those that are there and are no zombies."""
    stats = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [
        pid for pid, stat in stats if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    ]


def begun(folder: Path) -> list[Path]:
    return [*(folder / "work").glob("square-*/.*.partial/value")]


# Python runs this before anything else: a worker tells that it is there, and waits.
SLOW_START = """
import os, pathlib, sys, time
if any("spawn_main" in word for word in sys.orig_argv):
    pathlib.Path(__file__).with_name(f"{os.getpid()}.started").touch()
    time.sleep(1)
"""


def started(folder: Path, workers: int) -> subprocess.Popen:
    """The recipe in a process of its own, and of its own group, whose tasks hold."""
    (folder / "hold").touch()
    code = f"from tests.recipe.squares import Squares, run; run(Squares({str(folder)!r}), {workers})"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), root, *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )


def finished_well(folder: Path) -> None:
    """Run again, the result is what it should be, and nothing half-written is left."""
    (folder / "hold").unlink()
    assert run(Squares(str(folder)), report=lambda line: None) == RESULT
    assert not [*(folder / "work").glob("*/.*")]


def test_a_worker_that_is_killed_is_one_clear_error(tmp_path):
    process = started(tmp_path, 2)
    until(lambda: len(begun(tmp_path)) == 2)
    workers = children(process.pid)
    os.kill(int(begun(tmp_path)[0].parent.name.split(".")[2]), signal.SIGKILL)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert said.count("Traceback") == 1
    assert said.strip().splitlines()[-1] == (
        "pinisi.base.errors.DataError: a worker was killed (the kernel does so when memory runs out): lower squares.workers or "
        "squares.budget and run again"
    )
    until(lambda: not alive(workers))
    finished_well(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_it_leaves_no_worker_and_goes_on(tmp_path, workers):
    process = started(tmp_path, workers)
    until(lambda: len(begun(tmp_path)) == workers)
    running = children(process.pid)
    process.kill()
    process.communicate()
    assert len(running) >= workers * (workers > 1)
    until(lambda: not alive(running))
    assert begun(tmp_path)
    finished_well(tmp_path)


def test_ctrl_c_ends_all_and_only_the_parent_speaks(tmp_path):
    """A terminal sends the signal to the workers, too; what they do with it must not hang on who comes first."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_START)
    process = started(tmp_path, 2)
    until(lambda: len([*tmp_path.glob("*.started")]) == 2)
    workers = [int(path.stem) for path in tmp_path.glob("*.started")]
    for worker in workers:  # before it could say that it ignores the signal
        os.kill(worker, signal.SIGINT)
    until(lambda: len(begun(tmp_path)) == 2 or process.poll() is not None)
    assert process.poll() is None and alive(workers) == workers
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGINT
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
    until(lambda: not alive(workers))
    finished_well(tmp_path)
