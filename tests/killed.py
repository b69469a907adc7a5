"""Work that is killed right before one of its operations on files, so also between two that belong together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pinisi.launch import ranks


def operations(work: Callable[[], bool], place: str, log: Path, last: int) -> list[str]:
    """Works in a process of its own, killed by itself right before its operation number `last` on a path that has `place` in it; -1
    for none. Returns the operations up to there.

    work: what can be pickled; whether its result is whole. The process comes from the one that ranks are forked from: a fork of
    this one would lack its threads, and wait for them where an earlier test has run an engine here.
    """
    ranks.warm_up()
    log.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver" if ranks.forks() else "spawn")
    process = context.Process(target=_watched, args=(work, place, log, last))
    process.start()
    process.join()
    assert process.exitcode == (0 if last < 0 else -signal.SIGKILL)
    return log.read_text().splitlines()


def _watched(work: Callable[[], bool], place: str, log: Path, last: int) -> None:
    seen = 0
    with log.open("w", buffering=1) as out:

        def note(event: str, given: tuple) -> None:
            nonlocal seen
            if event.split(".")[0] not in ("open", "os", "shutil") or place not in str(given) or out.closed:
                return
            if f"{place}/status" in str(given):  # a watchdog reads there by the clock
                return
            out.write(f"{event} {given}\n")
            seen += 1
            if seen - 1 == last:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(note)
        whole = work()
    sys.exit(0 if whole else 1)
