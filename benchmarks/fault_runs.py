"""Starts runs of `pinisi train` in which something goes wrong at a chosen moment, and sees how they end."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from pinisi.cli import main
from pinisi.parallel import status
from pinisi.train import checkpoint

MARK = "PINISI_FAULTS_RUN"  # in the environment of all that a run starts: its folder
LEFT_AFTER = 10.0  # seconds that processes get to end after their launcher has
PHASES = ("time", "joining", "building", "first checkpoint", "step", "saving", "evaluating", "end")


@dataclass(frozen=True)
class Moment:
    """When a fault strikes: in a phase of the run from a step on, or (`time`) after a share of the time that a run takes."""

    phase: str
    step: int = 0
    share: float = 0.0  # of the usual time, or of 20 ms within the phase


@dataclass
class Outcome:
    """How one start of the command ended. code: None where it had to be ended after its limit."""

    code: int | None
    said: str  # stdout
    errors: str  # stderr
    struck: bool
    left: list[str]  # processes that were there 10 s after the launcher had ended
    seconds: float

    @property
    def text(self) -> str:
        return self.said + self.errors


@dataclass
class Live:
    """A run at work. `alive`: whether its launcher is."""

    run: Path
    launcher: int
    alive: Callable[[], bool]
    usual: float  # seconds that such a run takes
    began: float = field(default_factory=time.monotonic)
    _ranks: dict[int, int] = field(default_factory=dict)

    def reach(self, moment: Moment, steps: int) -> bool:
        """Waits for the moment; returns whether it came before the run ended."""
        while self.alive():
            if _is_at(self, moment, steps):
                time.sleep(0.02 * moment.share)
                return self.alive()
            time.sleep(0.001)
        return False

    def rank(self, number: int) -> int | None:
        """The process of a rank, None if it isn't there yet."""
        if number not in self._ranks:
            for pid in processes(self.run):
                found = _rank_of(pid)
                if found is not None:
                    self._ranks[found] = pid
        return self._ranks.get(number)


def _is_at(live: Live, moment: Moment, steps: int) -> bool:
    if moment.phase == "time":
        return time.monotonic() - live.began >= moment.share * live.usual
    live.rank(0)  # looked for in time: a phase may be shorter than the search
    for step, number, text, *_ in status.read(live.run / "status").values():
        matches = {
            "joining": text.startswith("joining"),
            "building": text.startswith(("building", "comparing", "reading")),
            "first checkpoint": text.startswith("saving") and step < 0,
            "step": number >= 0 and step >= moment.step,
            "saving": text.startswith("saving") and step >= moment.step,
            "evaluating": text.startswith("evaluating") and step >= moment.step - 1,
            "end": step == steps - 1 and text.startswith(("saving", "evaluating", "ending", "done")),
        }
        if matches[moment.phase]:
            return True
    return False


def second_of(run: Path) -> Path:
    """What marks the processes of a second launcher in a run's folder."""
    return run.with_name(f"{run.name} second")


def processes(run: Path) -> list[int]:
    """The living processes of a run: they have its folder in their environment, or write one of its logs."""
    mark, logs, found = f"{MARK}={run}\0".encode(), f"{run}/logs/", []
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if path.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            if mark in path.joinpath("environ").read_bytes() or os.readlink(path / "fd" / "2").startswith(
                logs
            ):
                found.append(int(path.name))
    return found


def _rank_of(pid: int) -> int | None:
    """By the name of a forked rank, or the environment of one that torchrun has started."""
    path = Path("/proc", str(pid))
    with contextlib.suppress(OSError):
        name = path.joinpath("comm").read_text().strip()
        if name.startswith("pinisi-rank-"):
            return int(name.removeprefix("pinisi-rank-"))
        for entry in path.joinpath("environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RANK="):
                return int(entry.removeprefix(b"RANK="))
    return None


def described(pid: int) -> str:
    with contextlib.suppress(OSError):
        name = Path("/proc", str(pid), "comm").read_text().strip()
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
        return f"{name} ({state})"
    return "gone"


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def left_behind(run: Path, seconds: float = LEFT_AFTER) -> list[str]:
    """Waits so long for the end of a run's processes; kills those that are left, and returns what they were."""
    end = time.monotonic() + seconds
    while (pids := processes(run)) and time.monotonic() < end:
        time.sleep(0.1)
    found = [described(pid) for pid in pids]
    while pids:
        kill(pids)
        time.sleep(0.05)
        pids = processes(run)
    return found


Strike = Callable[[Live], bool]
TRAIN = [sys.executable, "-m", "pinisi", "train"]


def outside(
    command: list[str],
    run: Path,
    *,
    strike: Strike | None = None,
    limit: float = 120.0,
    usual: float = 10.0,
    environment: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Outcome:
    """A command as a process of its own. limit: seconds after which it hangs, counted from the strike. before: is called in the
    process."""
    began = time.monotonic()
    names = [run.parent / f"{run.name}-{os.getpid()}-{began:.3f}.{kind}" for kind in ("out", "err")]
    run.parent.mkdir(parents=True, exist_ok=True)
    with names[0].open("w") as out, names[1].open("w") as err:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {}), MARK: str(run)},
            start_new_session=True,
            preexec_fn=before,
        )
    live = Live(run, process.pid, lambda: process.poll() is None, usual)
    try:
        struck = _struck(live, strike, limit)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            left_behind(run, 0)
    left = left_behind(run) if code is not None else []
    said = [name.read_text(errors="replace") for name in names]
    return Outcome(code, *said, struck, left, time.monotonic() - began)


def _struck(live: Live, strike: Strike | None, limit: float) -> bool:
    if strike is None:
        return False
    alive, end = live.alive, time.monotonic() + limit
    live.alive = lambda: alive() and time.monotonic() < end
    return strike(live)


def inside(arguments: list[str], run: Path, *, strike: Strike | None = None, limit: float = 60.0) -> Outcome:
    """The same with this process as the launcher, which spares its imports; the ranks are processes of their own."""
    began = time.monotonic()
    ended = [False]
    live = Live(run, os.getpid(), lambda: not ended[0], 3.0)
    struck, hung = [False], [False]

    def meanwhile() -> None:
        struck[0] = _struck(live, strike, limit)
        end = time.monotonic() + limit
        while not ended[0] and time.monotonic() < end:
            time.sleep(0.05)
        if not ended[0]:
            hung[0] = True
            kill(processes(run))

    errors = io.StringIO()
    thread = Thread(target=meanwhile)
    with _stdout_to(run.parent / f"{run.name}.out") as out, contextlib.redirect_stderr(errors):
        thread.start()
        try:
            code = main(arguments)
        finally:
            ended[0] = True
            thread.join()
    left = left_behind(run)
    return Outcome(
        None if hung[0] else code,
        out.read_text(errors="replace"),
        errors.getvalue(),
        struck[0],
        left,
        time.monotonic() - began,
    )


@contextlib.contextmanager
def _stdout_to(path: Path) -> Iterator[Path]:
    """What this process and those that it starts print goes to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    kept = os.dup(1)
    with path.open("w") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield path
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def records(run: Path) -> list[tuple]:
    """Of each step in the order of metrics.jsonl what must be the same bit for bit."""
    found = []
    with contextlib.suppress(OSError):
        for text in (run / "metrics.jsonl").read_text().splitlines():
            line = json.loads(text)
            if "loss" in line:
                found.append((line["step"], line["loss"], line["gradient_norm"], json.dumps(line["losses"])))
    return found


def is_whole(run: Path, steps: int) -> bool:
    """Whether all steps are in the metrics, once each and in order, and the last is saved."""
    try:
        if [record[0] for record in records(run)] != list(range(1, steps + 1)):
            return False
        reader = checkpoint.newest_whole(run / "checkpoints").reader
    except ValueError:  # a torn line, or no whole checkpoint
        return False
    return reader is not None and reader.step == steps


def is_evaluated(run: Path, steps: int) -> bool:
    """Whether the held-out loss after the last step is there."""
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    return any(line["step"] == steps and "evaluation" in line for line in lines)


def drawn_moment(rng: random.Random, steps: int) -> Moment:
    return Moment(rng.choice(PHASES), rng.randrange(steps), rng.random())
