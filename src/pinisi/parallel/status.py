"""Shows where each rank is, and who holds the others up: a small memory-mapped file per rank that outlives it.

A rank writes the number of its instruction before it starts it, which costs well under a microsecond, so the files of
a run say what each rank was doing when one of them died or when all of them hang. `watchdog` reads them.
"""

from __future__ import annotations

import mmap
import os
import platform
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from pinisi.base.errors import DataError

# step, instruction number, length of text, process, machine, allowed (times stuck_after), waits, time of the last change
_FORM = struct.Struct("<qqqqqqqd")
_SIZE = 256
_PHASE = -2  # the number of a named stretch outside of the step
STRETCH = 10  # times runtime.stuck_after that building, reading, saving and evaluating may take


class Status:
    """This rank's own entry. `Status.silent()` writes nothing. Raises DataError if the folder can't be written."""

    def __init__(self, folder: Path | None, rank: int):
        self._memory: mmap.mmap | None = None
        self.step = -1
        self.patience = (
            1  # times runtime.stuck_after that an instruction may take; more where layers are compiled
        )
        self._at: tuple[int, bytes, int] = (_PHASE, b"starting", STRETCH)
        self._process, self._machine = os.getpid(), _machine()
        if folder is not None:
            path = folder / f"rank-{rank:05d}.status"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)  # another process of before may still have it mapped
                path.write_bytes(b"\0" * _SIZE)
                with path.open("r+b") as file:
                    self._memory = mmap.mmap(file.fileno(), _SIZE)
            except OSError as error:
                raise DataError(
                    f"cannot write {path}: {error.strerror or error}; mend it, or give another run.folder"
                ) from error
        self._write(waits=False)

    @classmethod
    def silent(cls) -> Status:
        return cls(None, 0)

    def at(self, number: int, instruction: object, *, waits: bool = False) -> None:
        """Before an instruction: its number in the program and its text. After the last one: (-1, None).

        waits: this rank does nothing but wait for others.
        """
        if self._memory is None:
            return
        text = b"between steps" if instruction is None else str(instruction).encode()
        self._at = number, text[: _SIZE - _FORM.size], self.patience
        self._write(waits)

    def phase(self, text: str, *, times: int = STRETCH) -> None:
        """A named stretch outside of the step (loading, evaluation, saving), which may take `times` runtime.stuck_after."""
        self._at = _PHASE, text.encode()[: _SIZE - _FORM.size], times
        self._write(waits=False)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Marks that this rank waits for the others while the block runs."""
        self._write(waits=True)
        yield
        self._write(waits=False)

    def _write(self, waits: bool) -> None:
        if self._memory is None:
            return
        number, text, times = self._at
        self._memory[_FORM.size : _FORM.size + len(text)] = text
        head = (self.step, number, len(text), self._process, self._machine, times, waits, time.time())
        _FORM.pack_into(self._memory, 0, *head)


class StatusEntry(NamedTuple):
    """One rank's status. `at`: time of the last change; `here`: its process is of this machine; `times`: see `phase`."""

    step: int
    number: int
    text: str
    at: float
    process: int
    here: bool
    times: int
    waits: bool

    @property
    def since(self) -> float:
        """Seconds since the last change."""
        return max(0.0, time.time() - self.at)

    @property
    def state(self) -> str:
        """The letter of /proc/PID/stat; X for a process that is gone, empty where this machine can't tell."""
        if not self.here or not os.path.exists("/proc/self/stat"):
            return ""
        try:
            return Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    @property
    def stopped(self) -> bool:
        return self.state in ("T", "t")

    @property
    def condition(self) -> str | None:
        """What hinders the process, as far as this machine can tell."""
        if self.stopped:
            return f"its process {self.process} is stopped (SIGSTOP, or a debugger); `kill -CONT {self.process}` lets it go on"
        return f"its process {self.process} is gone" if self.state in ("Z", "X") else None

    def __str__(self) -> str:
        number = f"instruction {self.number}: " if self.number >= 0 else ""
        return f"step {self.step}, {number}{self.text} ({self.since:.0f} s{', waits' if self.waits else ''})"


def read(folder: Path, ranks: int | None = None) -> dict[int, StatusEntry]:
    """Returns every rank that has a file; those of `ranks` ranks if that is given, since an older run may have had more."""
    result = {}
    for path in sorted(folder.glob("rank-*.status")):
        rank = int(path.stem.split("-")[1])
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if len(data) < _FORM.size or (ranks is not None and rank >= ranks):
            continue
        step, number, length, process, machine, times, waits, at = _FORM.unpack_from(data)
        text = data[_FORM.size : _FORM.size + length].decode(errors="replace") or "starting"
        if process:
            result[rank] = StatusEntry(
                step, number, text, at, process, machine == _machine(), times, bool(waits)
            )
    return result


def describe(folder: Path, ranks: int | None = None) -> str:
    """One line per rank: its step, its instruction and for how long."""
    found = read(folder, ranks)
    lines = [f"  rank {rank}: {entry}" for rank, entry in found.items()]
    lines += [f"  rank {rank}: has not started" for rank in range(ranks or 0) if rank not in found]
    return "\n".join(lines) or "  (no rank left a status)"


def culprit(folder: Path, ranks: int) -> tuple[int, str]:
    """Returns the rank that holds the others up, and why it is held to be the one.

    One without a file has never started; one whose process is stopped or gone can't go on; else it is the one that has been
    at something other than waiting for the longest; where all wait, the one that has come the least far.
    """
    found = read(folder, ranks)
    for rank in range(ranks):
        if rank not in found:
            return rank, "it has not started (it left no status)"
    for rank, entry in found.items():
        if condition := entry.condition:
            return rank, condition
    at_work = {rank: entry for rank, entry in found.items() if not entry.waits}
    if at_work:
        rank = max(at_work, key=lambda r: at_work[r].since)
        others = "" if len(at_work) == len(found) else ", which others wait for"
        return rank, f"it has been at '{at_work[rank].text}' for {at_work[rank].since:.0f} s{others}"
    rank = min(found, key=lambda r: _progress(found[r]))
    return rank, f"all wait, and it has come the least far: {found[rank]}"


def _progress(entry: StatusEntry) -> tuple[int, float]:
    return entry.step, entry.number if entry.number >= 0 else float("inf")


def _machine() -> int:
    """A number for this machine and its namespace of processes, within which a process has one number."""
    names = [platform.node()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            names.append(os.readlink(place) if "ns" in place.split("/") else Path(place).read_text())
        except OSError:
            continue
    return zlib.crc32("\0".join(names).encode())


_current = Status.silent()


def set_current(status: Status) -> None:
    """Makes `status` the one that `waiting` marks: a process is one rank."""
    global _current
    _current = status


def waiting() -> AbstractContextManager[None]:
    """Marks in this process' status that it waits for the others while a block runs."""
    return _current.waiting()
