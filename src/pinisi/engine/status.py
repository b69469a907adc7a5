"""Where each rank is: a small memory-mapped file per rank that outlives it, and the watchdog that reads them.

A rank writes the number of its instruction before it starts it, which costs well under a microsecond, so the files of
a run say what each rank was doing when one of them died or when all of them hang.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

_FORM = struct.Struct(
    "<qqqd"
)  # step, instruction number, length of text, time of the last change (monotonic seconds)
_SIZE = 256
_PHASE = 10  # a phase outside of the step may take this many times as long as an instruction


class Status:
    """This rank's own entry. `Status.silent()` writes nothing."""

    def __init__(self, folder: Path | None, rank: int):
        self._memory: mmap.mmap | None = None
        self.step = -1
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"rank-{rank:05d}.status"
            path.write_bytes(b"\0" * _SIZE)
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), _SIZE)

    @classmethod
    def silent(cls) -> Status:
        return cls(None, 0)

    def at(self, number: int, instruction: object) -> None:
        """Before an instruction: its number in the program and its text. After the last one: (-1, None)."""
        if self._memory is None:
            return
        text = ("between steps" if instruction is None else str(instruction)).encode()[: _SIZE - _FORM.size]
        self._memory[_FORM.size : _FORM.size + len(text)] = text
        _FORM.pack_into(self._memory, 0, self.step, number, len(text), time.monotonic())

    def phase(self, text: str) -> None:
        """A named stretch outside of the step (loading, evaluation, saving)."""
        self.at(-2, text)


def read(folder: Path) -> dict[int, tuple[int, int, str, float]]:
    """rank -> (step, instruction number, text, seconds since it started) of every rank that has a file."""
    result = {}
    for path in sorted(folder.glob("rank-*.status")):
        data = path.read_bytes()
        if len(data) < _FORM.size:
            continue
        step, number, length, since = _FORM.unpack_from(data)
        text = data[_FORM.size : _FORM.size + length].decode(errors="replace") or "starting"
        result[int(path.stem.split("-")[1])] = (
            step,
            number,
            text,
            time.monotonic() - since if since else 0.0,
        )
    return result


def describe(folder: Path) -> str:
    """One line per rank: its step, its instruction and for how long."""
    lines = [
        f"  rank {rank}: step {step}, "
        + (f"instruction {number}: " if number >= 0 else "")
        + f"{text} ({since:.0f} s)"
        for rank, (step, number, text, since) in read(folder).items()
    ]
    return "\n".join(lines) or "  (no rank left a status)"


class Watchdog(threading.Thread):
    """Ends a stuck step: when this rank's instruction has not changed for `after` seconds, calls `stop` with a report of
    every rank's current instruction. `ends the process` is the caller's business, since a collective can't be interrupted."""

    def __init__(self, folder: Path, rank: int, after: float, stop: Callable[[str], None]):
        super().__init__(daemon=True, name="pinisi-watchdog")
        self.folder, self.rank, self.after, self.stop = folder, rank, after, stop
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(min(1.0, self.after / 4)):
            mine = read(self.folder).get(self.rank)
            if mine is None:
                continue
            if mine[3] > (_PHASE if mine[1] == -2 else 1) * self.after:  # loading and saving take their time
                self.stop(
                    f"no rank went on for {mine[3]:.0f} s (runtime.stuck_after = {self.after:g}); each rank's instruction:\n"
                    + describe(self.folder)
                )
                return

    def end(self) -> None:
        self._done.set()
