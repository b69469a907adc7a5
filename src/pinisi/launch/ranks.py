"""Starts a rank as a process: forked from one that has made the imports, or, where there is an accelerator, started anew.

torch and transformers take five seconds of a core to import. Ranks of one machine share those, and the memory of what
was imported, when they are forked from one process that did nothing else: Python's forkserver. A driver of a GPU must
not be forked, and macOS forks nothing safely, so there each rank makes its own imports.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, Protocol

# What a rank imports before its first step; transformers.modeling_utils stands for the modules of all models.
PRELOADED = ["pinisi.launch.ranks", "pinisi.train.trainer", "transformers.modeling_utils"]
SERVER = "PINISI_SERVER"  # set for that process alone
SERVER_GONE = 255  # what Python gives as the exit code of a rank whose end the server could no longer tell

# Signals to the launcher's group, such as a scheduler's SIGTERM, are the launcher's to pass on to the ranks, which then save:
# the process that they are forked from must outlive them.
_launcher = os.environ.pop(SERVER, None)
_server_process = os.getpid()  # for ranks that are forked from it


def die_with(parent: int) -> None:
    """Lets the kernel kill this process when its parent, the process `parent`, ends: also one that is stopped then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it has ended before
            os._exit(1)


if _launcher is not None:
    os.setsid()
    die_with(int(_launcher))

# Variables that libraries read as they are loaded: a rank for which one is to be another than the server's is started anew.
READ_EARLY = (
    "ATEN_",
    "DNNL_",
    "GLIBC_",
    "GOMP_",
    "KMP_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "OMP_",
    "ONEDNN_",
    "PINISI_KERNELS",
)
# Not these: torch sets the first; the others scikit-learn does, for itself, in any process that has imported it
SET_LATE = {"OMP_NUM_THREADS", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}

ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class Rank(Protocol):
    """Holds a process, as subprocess.Popen does."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> Any: ...


def forks() -> bool:
    """Tells whether ranks on this machine are forked."""
    return sys.platform == "linux" and not any(map(os.path.exists, ACCELERATORS))


def warm_up() -> None:
    """Lets the process that ranks are forked from begin with its imports, meanwhile; the second time it does nothing."""
    if forks():
        _served()


def start_rank(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, terminal: bool
) -> Rank:
    """Starts `pinisi *arguments` with this environment, in a session of its own, killed when this process ends. What it
    prints on stderr goes to `log`, on stdout too unless it has the terminal."""
    if forks() and _suits(environment) and _served():
        return _Forked(arguments, environment, log, terminal)
    with log.open("w") as file:  # the child has its own handle
        return subprocess.Popen(
            [sys.executable, "-m", "pinisi", *arguments],
            env=dict(environment),
            stdout=None if terminal else file,
            stderr=file,
            start_new_session=True,
            preexec_fn=partial(die_with, os.getpid()),
        )


class _Forked:
    """A child of the forkserver with the interface of subprocess.Popen."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, terminal: bool
    ) -> None:
        stdout = DupFd(1) if terminal else None
        self._process: ForkServerProcess = _server().Process(
            target=_be_rank, args=(list(arguments), dict(environment), log, stdout)
        )
        with _without_main():
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        os.kill(self.pid, sig)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


def _served() -> bool:
    """Whether there is a process to fork from: its socket stands in the folder of temporary files, whose name may be too long."""
    try:
        _server()
    except OSError:
        return False
    return True


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    _servers_environment()
    # Pools of threads that are there before a fork are broken after it.
    with _without_main(), _environment({"OMP_NUM_THREADS": "1", SERVER: str(os.getpid())}):
        forkserver.ensure_running()
    return context


@cache
def _servers_environment() -> dict[str, str]:
    return dict(os.environ)


def _suits(environment: Mapping[str, str]) -> bool:
    """Whether a rank with this environment can be forked from a process that began with the server's."""
    servers = _servers_environment()
    return all(
        environment.get(name) == servers.get(name)
        for name in {*environment, *servers}
        if name.startswith(READ_EARLY) and name not in SET_LATE
    )


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Python's children begin by running the file that started their parent, which a script may not be made for; ranks need
    nothing of it."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _be_rank(arguments: list[str], environment: dict[str, str], log: Path, stdout: Any) -> None:
    """The work of a forked rank: becomes what `python -m pinisi` would have been, and ends with its exit code."""
    os.setsid()
    die_with(_server_process)
    Thread(target=_die_with_launcher, daemon=True).start()
    # PR_SET_NAME: what `top` calls it, since its command line is the forkserver's
    ctypes.CDLL(None).prctl(15, f"pinisi-rank-{environment['RANK']}".encode()[:15])
    os.environ.clear()
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(out, 2)
    os.dup2(out if stdout is None else stdout.detach(), 1)
    os.close(out)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["pinisi", *arguments]

    import torch

    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1").split(",")[0]))
    runpy.run_module("pinisi", run_name="__main__")


# A launcher that is killed must not leave ranks behind that hold memory and the port.


def _die_with_launcher() -> None:
    """The same where the kernel doesn't see to it: waits for the end of a pipe that the launcher holds open."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    wait([launcher.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
