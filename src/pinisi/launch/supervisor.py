"""Starts the ranks of a run on one machine, and ends them all with one message when one of them fails.

Under torchrun, Slurm or Kubernetes the environment already names the ranks (RANK, WORLD_SIZE, ...): then nothing is
started here and the process joins the others.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pinisi.base.allocator import keep_freed_memory
from pinisi.base.errors import CommunicationError, ConfigError, DataError, PinisiError
from pinisi.launch.ranks import SERVER_GONE, Rank, start_rank
from pinisi.parallel import status
from pinisi.parallel.place import joined
from pinisi.parallel.watchdog import STATUS, Patience, leave_error

STOPPED = (
    128 + signal.SIGINT,
    128 + signal.SIGTERM,
)  # of a rank that has saved and ended because it was told to
INTERFACES = (
    "GLOO_SOCKET_IFNAME",
    "NCCL_SOCKET_IFNAME",
    "TP_SOCKET_IFNAME",
)  # ranks of one machine listen on
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
GRACE = 5.0  # seconds that the other ranks get to say what they saw


def writes_report() -> bool:
    """Tells whether this is the one process of a run that writes its report: the launcher, or rank 0 where others have
    started the ranks."""
    return not joined() or (os.environ["RANK"] == "0" and STATUS not in os.environ)


def launch(
    arguments: Sequence[str],
    ranks: int,
    folder: Path,
    *,
    port: int | None = None,
    threads: int | None = None,
    environment: Mapping[str, str] | None = None,
    stuck_after: float | None = None,
) -> int:
    """Runs `pinisi *arguments` once per rank and waits; returns the exit code.

    Rank 0 keeps this terminal; what the others print goes to `folder`/logs. On the first failure the rest is ended
    and one message names the rank and the cause. stuck_after: seconds, see `watchdog`; without it nobody watches the ranks.
    Raises CommunicationError if `port` is taken, DataError if `folder` can't be written.
    """
    children: list[Rank] = []
    with _Stop(children) as stop:  # before anything is written, by which others see that the run has begun
        where, logs = _emptied(folder, ranks)
        base = dict(os.environ)
        base.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port_to_use(port)), WORLD_SIZE=str(ranks))
        base.update({"LOCAL_WORLD_SIZE": str(ranks), STATUS: str(where), "PYTHONUNBUFFERED": "1"})
        base.update(dict.fromkeys(INTERFACES, LOOPBACK))
        base.setdefault("OMP_NUM_THREADS", str(threads or max(1, (os.cpu_count() or 1) // ranks)))
        base.update(environment or {})
        check_threads(base["OMP_NUM_THREADS"])
        for rank in range(ranks):
            if stop.signal:  # it came before this one was started
                return 128 + stop.signal
            own = {**base, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            log = logs / f"rank-{rank:05d}.log"
            children.append(start_rank(arguments, own, log, terminal=rank == 0))
        patience = Patience(where, ranks, stuck_after) if stuck_after else None
        return _watch(children, stop, where, logs, patience)


def _emptied(folder: Path, ranks: int) -> tuple[Path, Path]:
    """The folders of status files and of logs, without those of an older run, and proved to take this run's."""
    where, logs = folder / "status", folder / "logs"
    try:
        for path in (where, logs):
            path.mkdir(parents=True, exist_ok=True)
        for path in where.glob("rank-*"):
            path.unlink()
        for rank in range(ranks):
            (logs / f"rank-{rank:05d}.log").write_bytes(b"")
            (where / f"rank-{rank:05d}.status").touch()
            (where / f"rank-{rank:05d}.status").unlink()
    except OSError as error:
        raise DataError(
            f"cannot write {error.filename or folder}: {error.strerror or error}; mend it, or give another run.folder"
        ) from error
    return where, logs


def check_threads(text: str) -> None:
    """Raises ConfigError where OMP_NUM_THREADS is no number of threads, or numbers by level, before a rank ends for it."""
    if not re.fullmatch(r"0*[1-9]\d*(,\d+)*", text.replace(" ", ""), re.ASCII):
        raise ConfigError(
            f"the environment has OMP_NUM_THREADS={text!r}, needed a whole number of at least 1: unset it, and give runtime.threads"
        )


def port_to_use(port: int | None) -> int:
    """Returns `port` if it is free, else raises an error; a free one if none is given."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise CommunicationError(
                f"port {port} (runtime.port) can't be used: {error.strerror}; give another, or leave it out for a free one"
            ) from error
        return probe.getsockname()[1]


class _Stop:
    """Ctrl-C and SIGTERM reach every rank as SIGTERM, on which they save and end after the step. `signal`: which one came."""

    def __init__(self, children: list[Rank]):
        self.children, self.signal = children, 0

    def __enter__(self) -> _Stop:
        self.old = {s: signal.signal(s, self._send) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self.old.items():
            signal.signal(s, handler)
        for child in self.children:
            if child.poll() is None:
                child.kill()

    def _send(self, number: int, _: object) -> None:
        self.signal = number
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    def explains(self, code: int | None) -> bool:
        """Tells whether a rank that ended so has only been stopped: after saving, or before it could begin."""
        return bool(self.signal) and code in (0, *STOPPED, -signal.SIGTERM)


def _watch(children: list[Rank], stop: _Stop, where: Path, logs: Path, patience: Patience | None) -> int:
    stuck, looked = None, time.monotonic()
    while True:
        codes = [child.poll() for child in children]
        if all(code in (0, *STOPPED) for code in codes):
            return 128 + stop.signal if stop.signal and any(codes) else max(c or 0 for c in codes)
        if any(code not in (None, 0, *STOPPED) for code in codes):
            break
        if patience is not None and time.monotonic() - looked > patience.interval:
            looked = time.monotonic()
            if stuck := patience.look():
                # a rank that has said so already has ended, and would be taken for the one that is gone
                if not any(where.glob("rank-*.error")):
                    leave_error(where, 0, "stuck", stuck)
                break
        time.sleep(0.05)
    dead = {r: c for r, c in enumerate(codes) if c not in (None, 0)}
    end = time.monotonic() + (0 if stuck else GRACE)
    while time.monotonic() < end and any(child.poll() is None for child in children):
        time.sleep(0.05)
    report = status.describe(where, len(children))
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()
    if not stuck and all(stop.explains(code) for code in dead.values()):
        print("stopped before the first step", file=sys.stderr, flush=True)
        return 128 + stop.signal
    print(failure(dead, where, logs, report), file=sys.stderr, flush=True)
    return 1


def failure(dead: Mapping[int, int | None], where: Path, logs: Path, report: str) -> str:
    """Returns the one message of a failed run: the cause, not its echoes on the other ranks."""
    for rank, code in dead.items():
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = (
                " (the kernel kills with SIGKILL when memory runs out: see dmesg)"
                if name == "SIGKILL"
                else ""
            )
            return (
                f"error: rank {rank} was killed by {name}{hint}; the other ranks were stopped. "
                f"Run the same command again to resume from the last checkpoint.\n"
                f"Each rank's last instruction:\n{report}"
            )
    errors = []
    for path in sorted(where.glob("rank-*.error")):
        try:
            errors.append(json.loads(path.read_text()))
        except ValueError:
            continue
    if not errors:
        rank, code = next(iter(dead.items()))  # not empty: the launcher's own finding is among the errors
        if code == SERVER_GONE:
            return (
                "error: the process that the ranks were forked from has ended, and they with it (the kernel kills with SIGKILL "
                "when memory runs out: see dmesg). Run the same command again to resume from the last checkpoint."
            )
        return f"error: rank {rank} ended with code {code}; see {logs / f'rank-{rank:05d}.log'}"
    cause = min(errors, key=lambda e: (e["kind"] == "communication", e["time"]))
    if cause["kind"] == "stuck":  # which rank it is has been found out, and isn't who noticed
        return f"error: {cause['message']}"
    text = f"error: rank {cause['rank']}: {cause['message']}"
    if cause["kind"] == "unexpected":
        text += f"\n(the traceback is in {logs / 'rank-{:05d}.log'.format(cause['rank'])})"
    return text


def rank_main(work: Callable[[], int]) -> int:
    """Runs the work of one rank; an error is left where the launcher finds it, and printed when nobody launched us."""
    import torch  # here, since the launcher does without it

    rank = os.environ.get("RANK", "0")
    number = int(rank) if rank.isdecimal() else 0  # what it should be is said by the work
    if not torch.cuda.is_available():
        keep_freed_memory()
    try:
        return work()
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        kind, message = explain(error)
        where = os.environ.get(STATUS)
        if kind == "unexpected" or (kind == "communication" and where):
            traceback.print_exc()
        if where:
            leave_error(Path(where), number, kind, message)
        else:
            print(f"error: rank {rank}: {message}", file=sys.stderr, flush=True)
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(1)  # threads that hang in a collective would keep the process


def explain(error: BaseException) -> tuple[str, str]:
    """Returns (kind, message) of an error: user, communication or unexpected."""
    if isinstance(error, PinisiError):
        return ("communication" if isinstance(error, CommunicationError) else "user"), str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            "user",
            f"the disk is full while writing {error.filename or 'a file'}: free space and run again; the last checkpoint is whole",
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            "user",
            f"{error.strerror}: a rank needs a few hundred; raise the limit (ulimit -n 1024) and run again",
        )
    if isinstance(error, OSError) and error.filename:
        return (
            "user",
            f"{error.filename2 or error.filename}: {error.strerror or error}; mend it, or give another run.folder",
        )
    text = str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in text
    ):
        return "user", (
            f"out of memory ({text.splitlines()[0] if text else type(error).__name__}): lower data.microbatch_size or "
            "data.sequence, set memory.activation_checkpointing = 'full', or use more ranks"
        )
    marks = (
        "Connection closed",
        "Connection was likely closed",
        "Connection reset",
        "Broken pipe",
        "gloo",
        "NCCL",
        "Timed out",
        "Socket",
    )
    if isinstance(error, RuntimeError) and any(mark in text for mark in marks):
        return "communication", f"lost another rank: {text.splitlines()[0]}"
    return "unexpected", f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
