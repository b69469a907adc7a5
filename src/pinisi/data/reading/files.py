"""Reads JSON lines, text and Parquet."""

import json
from collections.abc import Iterator
from typing import IO

from pinisi.base.libraries import library
from pinisi.data.lines import opened, unpacking_errors
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable

_DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, *unpacking_errors())
LINE = 64 * 2**20  # a longer line is not held in memory


def _lines(part: Part, trouble: Trouble) -> Iterator[tuple[str, bytes]]:
    """(":line" or "@byte", line) of a part: those that begin in it."""
    at, number = 0, 0
    try:
        with opened(part.path) as file:
            if part.first:  # the line that the part before reaches into belongs to that one
                file.seek(part.first - 1)
                at = part.first - 1 + _skip(file)
            while part.stop is None or at < part.stop:
                line = file.readline(LINE)
                if not line:
                    return
                number += 1
                place = f":{number}" if part.stop is None else f"@{at}"
                at += len(line)
                if len(line) == LINE and not line.endswith(b"\n"):
                    at += _skip(file)
                    trouble(Unreadable(f"{part.path}{place}: a line of more than {LINE // 2**20} MiB"))
                elif line.strip():
                    yield place, line
    except _DAMAGE as error:
        what = str(error) or "the packed data end too early"
        trouble(
            Unreadable(
                f"{part.path}: cut off or damaged behind line {number} ({what}); the lines before it are used"
            )
        )


def _skip(file: IO[bytes]) -> int:
    """Bytes up to the end of the line."""
    count = 0
    while piece := file.readline(2**20):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count


def jsonl(part: Part, source: Source, trouble: Trouble) -> Records:
    for place, line in _lines(part, trouble):
        try:
            record = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            trouble(Unreadable(f"{part.path}{place}: byte {error.start} of the line is not UTF-8"))
            continue
        except ValueError as error:
            trouble(Unreadable(f"{part.path}{place}: not JSON ({error})"))
            continue
        except RecursionError:
            trouble(Unreadable(f"{part.path}{place}: JSON nested too deep"))
            continue
        if isinstance(record, dict):
            yield place, record
        else:
            trouble(Unreadable(f"{part.path}{place}: a JSON {type(record).__name__} instead of an object"))


def text(part: Part, source: Source, trouble: Trouble) -> Records:
    try:
        with opened(part.path) as file:
            text = file.read(LINE + 1)
    except _DAMAGE as error:
        trouble(Unreadable(f"{part.path}: can't be read ({error})"))
        return
    if len(text) > LINE:
        trouble(Unreadable(f"{part.path}: more than {LINE // 2**20} MiB in one document; make it JSON lines"))
        return
    try:
        yield "", {source.text_key: text.decode("utf-8")}
    except UnicodeDecodeError as error:
        trouble(Unreadable(f"{part.path}: byte {error.start} is not UTF-8"))


def parquet(part: Part, source: Source, trouble: Trouble) -> Records:
    pyarrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(part.path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for record in batch.to_pylist():
                    number += 1
                    yield f":{number}", record
    except (pyarrow.ArrowException, OSError) as error:
        trouble(Unreadable(f"{part.path}: damaged behind row {number} ({str(error).splitlines()[0]})"))
