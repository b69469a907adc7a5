"""A run in which nothing goes on ends, and names the rank that holds it up: of status files, and of stopped ranks."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from pinisi.parallel import status, watchdog
from tests.effort import only_full
from tests.engine.runs import TRAIN, Done, process_of


def write(folder: Path, rank: int, step: int, number: int, *, waits: bool, ago: float, process: int) -> None:
    """A status file as a rank would have left it some seconds ago."""
    mine = status.Status(folder, rank)
    mine.step = step
    mine.at(number, f"RUN {number}", waits=waits)
    data = bytearray((folder / f"rank-{rank:05d}.status").read_bytes())
    struct.pack_into("<q", data, 24, process)
    struct.pack_into("<d", data, 56, time.time() - ago)
    (folder / f"rank-{rank:05d}.status").write_bytes(data)


def stopped_process() -> subprocess.Popen:
    process = subprocess.Popen(["sleep", "100"])
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    return process


def test_a_rank_without_a_status_has_not_started(tmp_path):
    for rank in (0, 2):
        write(tmp_path, rank, 1, 1, waits=True, ago=9, process=os.getpid())
    rank, why = status.culprit(tmp_path, 3)
    assert rank == 1 and "not started" in why
    assert "rank 1: has not started" in status.describe(tmp_path, 3)


def test_a_stopped_process_is_told_before_a_slow_one(tmp_path):
    process = stopped_process()
    try:
        write(tmp_path, 0, 1, 5, waits=False, ago=99, process=os.getpid())
        write(tmp_path, 1, 1, 8, waits=True, ago=5, process=process.pid)
        rank, why = status.culprit(tmp_path, 2)
        assert rank == 1 and "stopped" in why and str(process.pid) in why
    finally:
        process.kill()
        process.wait()
    rank, why = status.culprit(tmp_path, 2)
    assert rank == 1 and "is gone" in why


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        # (step, instruction, waits, seconds ago)
        ([(4, 9, True, 90), (4, 2, False, 30), (4, 7, True, 60)], 1),  # who works, though others are older
        ([(4, 9, True, 90), (4, 2, False, 30), (4, 7, False, 60)], 2),  # of those the oldest
        ([(4, 9, True, 30), (4, 2, True, 20), (3, 40, True, 10)], 2),  # all wait: the lowest step
        (
            [(4, 9, True, 30), (4, -1, True, 20), (4, 3, True, 10)],
            2,
        ),  # between steps comes after the last one
    ],
)
def test_the_rank_that_holds_others_up(tmp_path, ranks, expected):
    for rank, (step, number, waits, ago) in enumerate(ranks):
        write(tmp_path, rank, step, number, waits=waits, ago=ago, process=os.getpid())
    write(tmp_path, 7, 0, 0, waits=False, ago=999, process=os.getpid())  # of an older run with more ranks
    assert status.culprit(tmp_path, len(ranks))[0] == expected


def test_a_suspended_watcher_gives_the_ranks_their_time(tmp_path, monkeypatch):
    """After the machine has slept an hour, only what passes then counts."""
    write(tmp_path, 0, 1, 1, waits=False, ago=0, process=os.getpid())
    now = 1000.0
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    patience = watchdog.Patience(tmp_path, 1, 8.0, mine=0)
    assert patience.look() is None
    now += 3600
    assert patience.look() is None
    said = None
    for _ in range(9):
        now += 1.0
        said = said or patience.look()
    assert said and "stuck_after = 8" in said


@pytest.mark.parametrize(("times", "limit"), [(1, 2.0), (status.STRETCH, 20.0)])
def test_limits_are_of_the_phase(tmp_path, monkeypatch, times, limit):
    mine, now = status.Status(tmp_path, 0), 0.0
    mine.phase("something", times=times)
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    patience = watchdog.Patience(tmp_path, 1, 2.0, mine=0)
    while patience.look() is None:
        now += patience.interval
        assert now < 100
    assert limit < now < limit + 2


@pytest.mark.parametrize(("times", "limit"), [(1, 2.0), (status.STRETCH, 20.0)])
def test_an_instruction_may_take_longer_while_layers_are_compiled(tmp_path, monkeypatch, times, limit):
    mine, now = status.Status(tmp_path, 0), 0.0
    mine.patience = times
    mine.at(3, "RUN 0F0")
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    patience = watchdog.Patience(tmp_path, 1, 2.0, mine=0)
    while patience.look() is None:
        now += patience.interval
        assert now < 100
    assert limit < now < limit + 2


def run_and_stop(project: Path, run: Path, when, *more: str) -> tuple[Done, float]:
    """A run with runtime.stuck_after = 3 whose rank 1 is stopped as soon as `when(rank 1's status)` holds."""
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "run.steps=100000"]
    command += ["runtime.stuck_after=3", "data.evaluation=none", "checkpoint.every=7", *more]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            found = status.read(run / "status").get(1)
            if found and when(found):
                break
            time.sleep(0.001)
        os.kill(found.process, signal.SIGSTOP)
        stopped = time.monotonic()
        _, errors = launcher.communicate(timeout=300)
        return Done(launcher.returncode, errors), time.monotonic() - stopped
    finally:
        launcher.kill()


@pytest.mark.parametrize(
    ("name", "when", "bound"),
    [
        pytest.param("joining", lambda s: s.text == watchdog.JOINING, 25, marks=only_full),
        pytest.param("building", lambda s: s.text == "building the model", 25, marks=only_full),
        pytest.param("step", lambda s: s.step > 2 and s.number > 3, 25, marks=only_full),
        pytest.param("between", lambda s: s.step > 2 and s.number == -1, 25, marks=only_full),
    ],
)
def test_a_stopped_rank_is_named_within_a_bound(project, tmp_path, name, when, bound):
    done, seconds = run_and_stop(project, tmp_path / "run", when)
    assert done.returncode == 1 and seconds < bound, (seconds, done.stderr)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and errors[0].startswith("error: rank 1 holds the run up: its process"), (
        done.stderr
    )
    assert "is stopped" in errors[0] and "stuck_after = 3" in errors[0]


@only_full
def test_a_run_of_one_stopped_rank_is_ended_by_the_launcher(project, tmp_path):
    """Nobody else is there to notice."""
    run = tmp_path / "run"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "run.steps=100000"]
    command += ["runtime.stuck_after=3", "data.evaluation=none", "pipeline.ranks=1"]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end and not (run / "metrics.jsonl").exists():
            time.sleep(0.02)
        time.sleep(1)
        os.kill(process_of_status(run, 0), signal.SIGSTOP)
        _, errors = launcher.communicate(timeout=300)
    finally:
        launcher.kill()
    assert launcher.returncode == 1 and "error: rank 0 holds the run up" in errors, errors


def process_of_status(run: Path, rank: int) -> int:
    return status.read(run / "status")[rank].process


def left(processes: list[int]) -> list[int]:
    return [p for p in processes if Path(f"/proc/{p}").exists() and _state(p) not in "ZX"]


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_a_killed_launcher_leaves_no_rank_that_is_stopped(project, tmp_path):
    run = tmp_path / "run"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    launcher = subprocess.Popen([*command, "run.steps=100000"], stdout=subprocess.DEVNULL)
    processes: list[int] = []
    try:
        end = time.monotonic() + 300
        while not (run / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.02)
        processes = [process_of_status(run, 0), process_of(run, 1)]
        assert processes[1] == process_of_status(run, 1)
        os.kill(processes[1], signal.SIGSTOP)
        launcher.kill()
        launcher.wait()
        end = time.monotonic() + 10
        while left(processes) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left(processes)
    finally:
        launcher.kill()
        for process in left(processes):
            os.kill(process, signal.SIGKILL)


@only_full
def test_ranks_listen_on_the_loopback_interface_alone(project, tmp_path):
    run = tmp_path / "run"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    launcher = subprocess.Popen([*command, "run.steps=100000"], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not (run / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.02)
        processes = [process_of_status(run, rank) for rank in (0, 1)]
        addresses = [address for process in processes for address in listening(process)]
    finally:
        launcher.terminate()
        launcher.wait()
    assert len(addresses) >= 2  # gloo's of each rank, and the store
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    assert all(address in loopback for address in addresses), addresses


def listening(process: int) -> list[str]:
    """The addresses of a process' listening sockets, as /proc/net has them."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            inodes.add(os.readlink(link))
        except OSError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in inodes:
                found.append(columns[1].split(":")[0])
    return found
