"""Lets one process at a time work in a folder."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pinisi.base.errors import DataError


@contextmanager
def only_one(folder: Path, lock: Path, setting: str) -> Iterator[None]:
    """Holds the file `lock` while the block runs; the kernel frees it when the process ends, however that ends.

    Raises DataError, which names `folder` and the `setting` that chose it, where another process holds the lock or the folder
    can't be written to. A file system without locks lets everyone through.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")  # which leaves a file as it is that somebody else made
    except OSError as error:
        raise DataError(
            f"cannot write {folder}: {error.strerror or error}; give another {setting}"
        ) from error
    with file:
        if not _taken(file):
            raise DataError(f"another run is at work in {folder}: wait for it, or give another {setting}")
        yield


def is_held(lock: Path) -> bool:
    """Tells whether a process holds the lock; where nobody can know (no such file, no right to it, no locks), that none does."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _taken(file: IO[bytes]) -> bool:
    """Takes the lock unless a process holds it: tried twice, since one that only looks (`is_held`) has it for an instant."""
    for wait in (0.1, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(wait)
        except OSError:
            return True
        else:
            return True
    return False
