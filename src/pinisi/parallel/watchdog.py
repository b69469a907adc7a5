"""Ends a run in which no rank goes on, with one message that names the rank that holds the others up.

Every rank watches itself, from before it joins the others; the launcher watches all, for what happens before that and for
ranks that can't watch. Time counts only while the watcher itself runs: a machine or a job that was suspended is no stuck run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinisi.parallel import status

JOINING_AT_LEAST = 20.0  # seconds: others may still import torch, which takes five on an idle core
MARGIN = 5.0  # seconds that the launcher, who can't tell who waits, leaves to the ranks
STUCK = 75  # exit code of a rank that found the run stuck: EX_TEMPFAIL of sysexits.h
JOINING = "joining the other ranks"
STATUS = "PINISI_STATUS"  # the folder of status and error files, set for the ranks that we start


def longest_wait(after: float) -> float:
    """Seconds after which a collective ends by itself, should no watchdog have ended its rank: beyond all their limits."""
    return joining_limit(after) + (status.STRETCH + 1) * after


def joining_limit(after: float) -> float:
    return max(after, JOINING_AT_LEAST)


class Patience:
    """Counts for how long nothing has changed in the status of rank `mine`, or of all ranks if that is None."""

    def __init__(self, folder: Path, ranks: int, after: float, mine: int | None = None):
        self.folder, self.ranks, self.after, self.mine = folder, ranks, after, mine
        self.interval = min(1.0, after / 4)
        self._seen: object = None
        self._idle = 0.0
        self._looked = time.monotonic()

    def look(self) -> str | None:
        """Returns the message of a stuck run once it is one. Call it about every `interval` seconds."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * self.interval), now
        found = status.read(self.folder, self.ranks)
        if self.mine is not None:
            found = {rank: entry for rank, entry in found.items() if rank == self.mine}
        if found != self._seen:
            self._seen, self._idle = found, 0.0
            return None
        self._idle += passed
        limit = self._limit(found)
        # looked for only when it matters: it reads /proc
        if self._idle > limit or (self._idle > self.after and self._stopped()):
            return self._message(limit)
        return None

    def _stopped(self) -> bool:
        """Whether a rank is known to be unable to go on, however long its phase may take."""
        return any(entry.stopped for entry in status.read(self.folder, self.ranks).values())

    def _limit(self, found: dict[int, status.StatusEntry]) -> float:
        limits = [
            joining_limit(self.after) if e.text == JOINING else e.times * self.after for e in found.values()
        ]
        if self.mine is not None:
            return max(limits, default=joining_limit(self.after))
        if len(found) < self.ranks:
            limits.append(joining_limit(self.after))
        return max(limits) + MARGIN

    def _message(self, limit: float) -> str:
        rank, why = status.culprit(self.folder, self.ranks)
        return (
            f"rank {rank} holds the run up: {why}. Nothing went on for {self._idle:.0f} s (runtime.stuck_after = "
            f"{self.after:g}, at most {limit:g} s here); run the same command again to resume from the last checkpoint.\n"
            f"Each rank's instruction:\n{status.describe(self.folder, self.ranks)}"
        )


class Watchdog(threading.Thread):
    """Calls `stop` with the message when this rank is stuck; a collective can't be interrupted, so `stop` ends the process."""

    def __init__(self, patience: Patience, stop: Callable[[str], None]):
        super().__init__(daemon=True, name="pinisi-watchdog")
        self.patience, self.stop = patience, stop
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self.patience.interval):
            message = self.patience.look()
            if message is not None and not self._done.is_set():
                self.stop(message)
                return

    def end(self) -> None:
        self._done.set()


@contextmanager
def watched(folder: Path, rank: int, ranks: int, after: float) -> Iterator[status.Status]:
    """Gives this rank's status, and watches it while the block runs.

    Of ranks that no launcher of ours has started the first to find the run stuck says so, the others are silent.
    """
    where = Path(os.environ.get(STATUS) or folder / "status")
    mine = status.Status(where, rank)
    said = where / "stuck"
    with suppress(OSError):
        said.unlink(missing_ok=True)

    def stop(message: str) -> None:
        if STATUS in os.environ:
            leave_error(where, rank, "stuck", message)
        elif _first(said):
            print(f"error: {message}", file=sys.stderr, flush=True)
        os._exit(STUCK)

    status.set_current(mine)
    watchdog = Watchdog(Patience(where, ranks, after, rank), stop)
    watchdog.start()
    try:
        yield mine
    finally:
        watchdog.end()
        status.set_current(status.Status.silent())


def _first(path: Path) -> bool:
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    except OSError:
        pass  # said twice is better than not at all
    return True


def leave_error(where: Path, rank: int, kind: str, message: str) -> None:
    """Leaves an error where the launcher finds it; prints it if that can't be written."""
    record = {"rank": rank, "kind": kind, "message": message, "time": time.time()}
    try:
        (where / f"rank-{rank:05d}.error").write_text(json.dumps(record))
    except OSError:
        print(f"error: rank {rank}: {message}", file=sys.stderr, flush=True)
