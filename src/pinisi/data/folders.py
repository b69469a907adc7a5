"""Folders that appear only when complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinisi.errors import DataError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of `out` when the block ends well, else it goes away.

    Raises DataError, `out` unchanged, if something cannot be written.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
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
