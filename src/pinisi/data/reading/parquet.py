"""Reads Parquet, some rows at a time, in as bounded memory as the format allows.

A page is unpacked whole, and a text that a group of rows has once in its dictionary may stand in a million of them: 300 kB can
become terabytes. So what the file says of its groups is looked at first, and long texts are taken out of dictionaries row by row.
"""

from collections.abc import Iterator
from typing import Any

from pinisi.base.libraries import library
from pinisi.data.lines import opened
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.unpack import RATIO, STRETCH

ROWS = 1000  # of a batch, or fewer if they are long
BATCH = 64 * 2**20  # bytes; a batch of more is made into Python's objects row by row


def parquet(part: Part, source: Source, trouble: Trouble) -> Records:
    """A record a row. A group of rows that would become too much or is damaged, and a row that can't be made into a record, are
    told to `trouble`."""
    damage = library("pyarrow").ArrowException, OSError
    number = 0
    try:
        with opened(part.path, unpack=False) as raw:
            if not raw.peek(1):  # type: ignore[attr-defined]
                return  # an empty file has no rows
            file = _file(raw)
            for group in range(file.num_row_groups):
                facts, first = file.metadata.row_group(group), number
                try:
                    for row in _group(file, group, facts):
                        number += 1
                        if isinstance(row, Exception):
                            trouble(Unreadable(f"{part.path}:{number}: {_line(row)}"))
                        else:
                            yield f":{number}", row
                except (*damage, _TooMuch) as error:
                    rows = f"rows {number + 1} to {first + facts.num_rows}"
                    trouble(Unreadable(f"{part.path}: {rows} can't be read ({_line(error)})"))
                number = first + facts.num_rows
    except damage as error:
        trouble(Unreadable(f"{part.path}: damaged behind row {number} ({_line(error)})"))


class _TooMuch(Exception):
    """A group of rows says of itself that it would become more than anyone means to read."""


def _file(raw: Any) -> Any:
    """The open Parquet file, its texts in dictionaries where they lie so."""
    parquet, types = library("pyarrow.parquet"), library("pyarrow").types
    schema = parquet.read_schema(raw)
    raw.seek(0)
    kinds = types.is_string, types.is_binary, types.is_large_string, types.is_large_binary
    texts = [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
    return parquet.ParquetFile(raw, read_dictionary=texts, buffer_size=2**20)


def _group(file: Any, group: int, facts: Any) -> Iterator[dict[str, Any] | Exception]:
    columns = [facts.column(number) for number in range(facts.num_columns)]
    for each in columns:
        _check(each.total_uncompressed_size, each.total_compressed_size)
    packed, unpacked = sum(each.total_compressed_size for each in columns), 0
    most = max(1, min(ROWS, BATCH * facts.num_rows // max(1, facts.total_byte_size)))
    for batch in file.iter_batches(most, row_groups=[group]):
        size = _size(batch)
        unpacked += size
        _check(unpacked, packed)
        found = _at_once(batch) if size <= BATCH else None
        yield from _rows(batch) if found is None else found


def _check(unpacked: int, packed: int) -> None:
    if unpacked > STRETCH and unpacked > RATIO * packed:
        raise _TooMuch(
            f"{unpacked / 2**20:.0f} MiB in {packed / 2**10:.0f} KiB, more than {RATIO} times as much, which text doesn't; if it "
            "is what you mean, write the file again without compression and dictionaries"
        )


def _size(batch: Any) -> int:
    """Bytes of a batch, what stands in dictionaries counted each time that it occurs."""
    types, compute = library("pyarrow").types, library("pyarrow.compute")
    size = batch.nbytes
    for column in batch.columns:
        if types.is_dictionary(column.type):
            lengths = compute.binary_length(column.dictionary).cast("int64").take(column.indices)
            size += compute.sum(lengths).as_py() or 0
    return size


def _at_once(batch: Any) -> list[dict[str, Any]] | None:
    """All rows of a batch, which is faster; None if one of them can't be made into Python's objects."""
    pyarrow = library("pyarrow")
    columns = [
        column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    try:
        return pyarrow.record_batch(columns, names=batch.schema.names).to_pylist()
    except Exception:  # Arrow's, or of whatever Python's type makes of a value
        return None


def _rows(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """Row by row, or the error of one."""
    for at in range(batch.num_rows):
        try:
            yield {
                name: _value(column[at])
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
        except Exception as error:  # as above
            yield error


def _value(scalar: Any) -> Any:
    """A value as Python has it; a time that Python doesn't know as Arrow writes it."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        pyarrow = library("pyarrow")
        if not pyarrow.types.is_temporal(scalar.type):
            raise
        return str(scalar.cast(pyarrow.string()))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
