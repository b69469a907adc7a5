"""Reads and writes the CSV tables of torch.distributed.pipelining: a row per rank, a cell per pass.

A cell is stage, letter, microbatch: 0F3 a forward, 0I3 an input gradient, 0W3 a weight gradient, 0B3 both
gradients in one; an empty cell is a wait, and (0F7;7B3)OVERLAP_F_B holds passes that torch overlaps (here: one
after the other, in the order given). Tables of torch before 2.6 write 0B3 for the input gradient and 0BW3 for
both: in a table without an I, a B is an input gradient where its W has a cell of its own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import NamedTuple

from pinisi.base.errors import ScheduleError
from pinisi.schedule.table import SHARD_KINDS, Kind, Layout, Pass, Schedule

_PASS = re.compile(r"(\d+)(F|I|BW|B|W)(\d+)")
# What torch adds to a table to run it; here `lower` derives all of it.
_OURS_TO_ADD = re.compile(r"\d+(SEND_F|RECV_F|SEND_B|RECV_B|UNSHARD|RESHARD|REDUCE_GRAD)\d*")
_OVERLAPPED = re.compile(r"\((.*)\)(OVERLAP_F_B)?")
_LETTER = {Kind.F: "F", Kind.B: "I", Kind.W: "W", Kind.BW: "B"}


class _Cell(NamedTuple):
    """One pass as it is written, and where: counted from 1, as a spreadsheet does."""

    stage: int
    letter: str
    microbatch: int
    row: int
    column: int

    @property
    def place(self) -> str:
        return f"row {self.row} (rank {self.row - 1}), cell {self.column}"


def read_csv(text: str, name: str, *, stages: Sequence[Sequence[int]] | None = None) -> Schedule:
    """Read a table with 0 barriers; communication in it (SEND_F and the like) is left out, `lower` makes it.

    stages: the stages that each rank should hold, in order of chunk; if not given, each stage belongs to the
    rank in whose row it stands, lower ones first. Raises ScheduleError that names row and cell for what can't
    be read, and for a stage in two rows; whether the table can be run is `verify`'s business.
    """
    if re.fullmatch(r"\S+", name) is None:
        raise ScheduleError(f"'{name}' can't name a schedule: give a name without spaces")
    lines = list(csv.reader(StringIO(text)))
    while lines and not any(cell.strip() for cell in lines[-1]):
        lines.pop()
    rows = [list(_row(number, line)) for number, line in enumerate(lines, 1)]
    placement = _placement(rows)
    if stages is not None:
        placement = _as_given(rows, tuple(tuple(held) for held in stages))
    kinds = _kinds([cell for row in rows for cell in row])
    order = tuple(tuple(Pass(kinds[cell], cell.stage, cell.microbatch) for cell in row) for row in rows)
    microbatches = 1 + max(p.microbatch for row in order for p in row)
    return Schedule(name, Layout(placement), microbatches, order)


def write_csv(schedule: Schedule) -> str:
    """The table as torch's `_load_csv` reads it; raises ScheduleError for one with vocabulary passes."""
    lines = []
    for rank, passes in enumerate(schedule.order):
        for step, p in enumerate(passes):
            if p.kind in SHARD_KINDS:
                raise ScheduleError(
                    f"schedule '{schedule.name}', row {rank + 1} (rank {rank}), cell {step + 1}: {p} has no"
                    " name in torch's tables, which have no vocabulary passes: write a schedule with 0 barriers"
                )
        lines.append(",".join(f"{p.part}{_LETTER[p.kind]}{p.microbatch}" for p in passes))
    return "\n".join(lines) + "\n"


def _row(row: int, line: list[str]) -> Iterator[_Cell]:
    found = False
    for column, text in enumerate(line, 1):
        for cell in _cells(text.strip(), row, column):
            found = True
            yield cell
    if not found:
        raise ScheduleError(
            f"row {row} (rank {row - 1}) of the table holds no pass: each rank needs a row of cells"
        )


def _cells(text: str, row: int, column: int) -> Iterator[_Cell]:
    """The passes of one cell of the file: none if it is empty, several if torch overlaps them."""
    overlapped = _OVERLAPPED.fullmatch(text)
    for word in overlapped[1].split(";") if overlapped else [text]:
        word = word.strip()
        match = _PASS.fullmatch(word)
        if match is not None:
            yield _Cell(int(match[1]), match[2], int(match[3]), row, column)
        elif (word or overlapped) and _OURS_TO_ADD.fullmatch(word) is None:
            raise ScheduleError(
                f"row {row} (rank {row - 1}), cell {column} of the table is '{text}': expected stage, one of"
                " F I W B, microbatch, such as 3F7, or several as in (0F7;7B3)OVERLAP_F_B"
            )


def _placement(rows: list[list[_Cell]]) -> tuple[tuple[int, ...], ...]:
    """Which rank holds which stages, by the rows that they stand in."""
    if not rows:
        raise ScheduleError("the table is empty: expected a row of cells for each rank")
    first: dict[int, _Cell] = {}
    for cell in (cell for row in rows for cell in row):
        known = first.setdefault(cell.stage, cell)
        if known.row != cell.row:
            raise ScheduleError(
                f"{cell.place} of the table has stage {cell.stage}, which {known.place} has too:"
                " a stage belongs to one rank"
            )
    gap = next((stage for stage in range(len(first)) if stage not in first), None)
    if gap is not None:
        beyond = first[max(first)]
        raise ScheduleError(
            f"no row of the table holds stage {gap}, yet {beyond.place} has stage {beyond.stage}:"
            " stages are counted from 0 without gaps"
        )
    held: list[list[int]] = [[] for _ in rows]
    for stage in sorted(first):
        held[first[stage].row - 1].append(stage)
    return tuple(tuple(stages) for stages in held)


def _as_given(rows: list[list[_Cell]], stages: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if len(stages) != len(rows):
        raise ScheduleError(f"the table has {len(rows)} rows, but stages are given for {len(stages)} ranks")
    for row, held in zip(rows, stages, strict=True):
        stranger = next((cell for cell in row if cell.stage not in held), None)
        if stranger is not None:
            raise ScheduleError(
                f"{stranger.place} of the table has stage {stranger.stage}, but the rank is given stages"
                f" {', '.join(map(str, held))}"
            )
    return stages


def _kinds(cells: list[_Cell]) -> dict[_Cell, Kind]:
    """The kind of every cell, in today's spelling or in that of torch before 2.6 (see the file's head)."""
    today = any(cell.letter == "I" for cell in cells)
    apart = set() if today else {(c.stage, c.microbatch) for c in cells if c.letter == "W"}
    plain = {"F": Kind.F, "I": Kind.B, "W": Kind.W, "BW": Kind.BW}

    def kind(cell: _Cell) -> Kind:
        if cell.letter != "B":
            return plain[cell.letter]
        return Kind.B if (cell.stage, cell.microbatch) in apart else Kind.BW

    return {cell: kind(cell) for cell in cells}
