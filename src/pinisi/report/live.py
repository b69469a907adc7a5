"""Keeps a page of a run that is under way: one HTML file, written anew at intervals, which a browser loads again by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pinisi.base.errors import PinisiError
from pinisi.base.files import write_whole
from pinisi.base.lock import is_held
from pinisi.report.files import RunFiles, read_run
from pinisi.report.page import page

NAME = "live.html"
SHARE = 0.05  # of the time may go into writing: a long run's page is written more rarely


def write_live(folder: Path, every: float, *, ended: bool = False) -> Path:
    """Writes the page as the run stands. ended: it is the last time, and no browser needs to look again."""
    return write_whole(folder / NAME, page(read_run(folder), live=_status(folder, every, ended)))


@contextmanager
def kept_live(folder: Path, every: float) -> Iterator[None]:
    """Keeps the page while the block runs, in a thread of its own; every: seconds, 0 for no page."""
    if not every:
        yield
        return
    end = threading.Event()
    thread = threading.Thread(target=_keep, args=(folder, every, end), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        _try(folder, every, ended=True)


def follow(folder: Path, every: float, lock: str, report: Callable[[str], None]) -> None:
    """Keeps the page of a run that another process is at, until that run has ended, or until Ctrl-C.

    every: seconds between two writings. lock: the name of the file in `folder` that a run holds while it goes on. A run that hasn't
    begun is waited for; of one at its last step the page is written once. Raises DataError where there is no such folder.
    """
    seen, whole = is_held(folder / lock), is_whole(read_run(folder))
    report(str(write_live(folder, every, ended=whole and not seen)))
    if not seen and not whole:
        report("no run is at work there yet; Ctrl-C ends the wait")
    try:
        while seen or not whole:
            time.sleep(every)
            running = is_held(folder / lock)
            if seen and not running:
                break
            seen, whole = running, is_whole(read_run(folder))
            write_live(folder, every)
    except KeyboardInterrupt:
        pass
    write_live(folder, every, ended=True)
    report("the page is written for the last time")


def is_whole(run: RunFiles) -> bool:
    """Tells whether a run has come to its last step."""
    config = run.config or {}
    steps = config.get("run", {}).get("steps") or sum(phase["steps"] for phase in config.get("phases", ()))
    return bool(run.training) and run.training[-1]["step"] >= steps > 0


def _keep(folder: Path, every: float, end: threading.Event) -> None:
    wait = min(every, 1.0)
    while not end.wait(wait):
        began = time.monotonic()
        _try(folder, every)
        wait = max(every, (time.monotonic() - began) / SHARE)


def _try(folder: Path, every: float, *, ended: bool = False) -> None:
    """Writes the page where there is something to show; a page that can't be written ends no run."""
    if not (folder / "metrics.jsonl").is_file():
        return
    try:
        write_live(folder, every, ended=ended)
    except (PinisiError, OSError):
        return


def _status(folder: Path, every: float, ended: bool) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    told = f"ended {now}" if ended else f"written {now}, and anew every {every:.0f} s"
    return {"told": told, "refresh": None if ended else max(1, round(every))}
