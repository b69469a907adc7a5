"""Writes what programs read (`--json FILE`): into a file, or for `-` alone on standard output, while all else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from pinisi.base.files import write_whole

STDOUT = "-"
_apart: list[TextIO] = []  # standard output as it was, while a command speaks on stderr


def write_result(path: str | Path, text: str) -> None:
    """Writes `text` into the file, or for `-` to standard output. Raises OSError."""
    if str(path) != STDOUT:
        write_whole(path, text)
        return
    stream = _apart[-1] if _apart else sys.stdout
    stream.write(text)
    stream.flush()


@contextmanager
def result_apart(arguments: Sequence[str]) -> Iterator[None]:
    """Lets a command whose arguments say `--json -` print what people read on stderr."""
    pairs = pairwise(arguments)
    if ("--json", STDOUT) not in pairs and f"--json={STDOUT}" not in arguments:
        yield
        return
    _apart.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _apart.pop()
