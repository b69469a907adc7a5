"""Writes files and folders that are there whole or not at all: a killed run leaves the last good one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pinisi.base.errors import DataError, ModelError


def cache_folder() -> Path:
    """Returns the user's folder for fetched and compiled files, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinisi"


def free_bytes(path: Path) -> int:
    """Returns how much may still be written where `path` is or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def check_room(out: Path, size: int) -> None:
    """Raises ModelError where a model's weights of `size` bytes have no room in or beside `out`."""
    if (free := free_bytes(out.absolute())) < size:
        raise ModelError(
            f"{out} would have {size / 2**30:,.1f} GiB of weights, and {free / 2**30:,.1f} GiB are free there; make room, or "
            "give another folder."
        )


def partial_name(path: Path) -> Path:
    """Returns where `path` is written before it is whole: beside it, hidden, one for each process."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Writes text (as UTF-8) or bytes at once; makes the file's folder and returns `path`. Raises OSError."""
    with new_file(Path(path)) as out:
        out.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file to fill, which takes the place of `path` when the block ends well, and else goes away. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        with partial.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Makes a folder to fill, which takes the place of `out` when the block ends well, and else goes away.

    A link stays, and the folder that it leads to is replaced. Raises DataError, `out` unchanged, if something cannot be written.
    """
    out = Path(os.path.realpath(out))
    partial = partial_name(out)
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
    except OSError as error:
        raise DataError(
            f"cannot write {out}: {error.strerror or error}; what was there is unchanged"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
