"""Words what is wrong with a table or a program: which rank, step and instruction, with the table around it."""

from __future__ import annotations

from typing import NoReturn

from pinisi.base.errors import ScheduleError
from pinisi.schedule.encoding import MASK, RUN, encoded
from pinisi.schedule.program import Program
from pinisi.schedule.table import Schedule


def fail(schedule: Schedule, rank: int, step: int, message: str) -> NoReturn:
    """Raises ScheduleError with the rank's passes around a step."""
    raise ScheduleError(f"schedule '{schedule.name}': {message}\n  {schedule.excerpt(rank, step)}")


def fail_at(program: Program, rank: int, code: int, message: str) -> NoReturn:
    """Raises ScheduleError that names an instruction, by its number, and the step at which it first stands."""
    encoding, rows = encoded(program)
    before = rows[rank][: rows[rank].index(code)]
    step = sum(1 for each in before if each & MASK == RUN)
    instruction = encoding.decode(code)
    fail(program.schedule, rank, step, f"rank {rank}, step {step}, {instruction}: {message}")
