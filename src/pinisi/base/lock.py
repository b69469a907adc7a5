"""Lets one process at a time work in a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another run is at work in {folder}: wait for it, or give another {setting}"
            ) from None
        except OSError:
            pass
        yield
