"""Lets a program speak in any locale, to a stream that is closed, full or no longer read."""

from __future__ import annotations

import codecs
import io
import locale
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast


def prepare() -> None:
    """Opens the standard streams that are closed, and begins anew in UTF-8 where the locale has another encoding: for a program,
    before anything else."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file that is opened would be stdout
        os.set_inheritable(free, True)
    os.close(free)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # PYTHONIOENCODING may still say otherwise
        sys.stdout.reconfigure(errors="backslashreplace")
    if os.environ.get("PYTHONUTF8") != "1" and multiprocessing.parent_process() is None and not _utf8():
        os.environ["PYTHONUTF8"] = "1"  # of names of files too, which nothing sets later
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _utf8() -> bool:
    names = (locale.getpreferredencoding(False), sys.getfilesystemencoding())
    return all(codecs.lookup(name).name == "utf-8" for name in names)


@contextmanager
def heard_or_not() -> Iterator[None]:
    """Lets work that takes hours go on when nobody reads what it says any more: what can't be written is lost."""
    with redirect_stdout(_tolerant(sys.stdout)), redirect_stderr(_tolerant(sys.stderr)):
        yield


def to_nowhere(stream: Any) -> None:
    """Lets what is still to be written to `stream` be lost."""
    try:
        target, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):
        return
    os.dup2(nowhere, target)
    os.close(nowhere)


class _Tolerant:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            to_nowhere(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _tolerant(stream: TextIO) -> TextIO:
    return cast(TextIO, _Tolerant(stream))
