"""Hands a run's schedules from the launcher, which builds and verifies them once, to the ranks, which look them up by digest.

A large table takes seconds to build and tenths to verify. The launcher leaves each in the run's folder, under a key of all
that it was asked for, and the digests in the environment: a rank takes a table whose digest it finds there. Where nothing was
left (torchrun, other machines), a rank builds its own; either way all compare digests, and rank 0 verifies what nobody has.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pinisi.base.digests import of_value
from pinisi.base.errors import DataError, ScheduleError
from pinisi.base.files import write_whole
from pinisi.parallel.agree import agree_on, gather_json
from pinisi.schedule import Costs, Layout, Schedule, build, verify

VERIFIED = "PINISI_SCHEDULES"  # in a rank's environment: the digests, as a JSON list
FOLDER = "schedules"  # in run.folder

LARGEST = 64  # tables that a process keeps

_tables: OrderedDict[str, Schedule] = OrderedDict()  # by what they were asked for


def table_for(
    folder: Path, name: str, layout: Layout, chunks: int | None, microbatches: int, costs: Costs
) -> Schedule:
    """Returns the table of a schedule for these costs: as the launcher left it in the run's folder, or else built here, once."""
    asked = [name, layout.stages, layout.barriers, microbatches, asdict(costs)]
    key = of_value(asked)[:16]
    if key not in _tables:
        _tables[key] = _left(folder, key) or build(
            name, layout.ranks, microbatches, chunks=chunks, barriers=layout.barriers, costs=costs
        )
    _tables.move_to_end(key)
    while len(_tables) > LARGEST:
        _tables.popitem(last=False)
    return _tables[key]


def leave_tables(schedules: Sequence[Schedule], folder: Path) -> dict[str, str]:
    """Writes tables that were verified, and that `table_for` made, into a run's folder; returns what its ranks are to have in
    their environment. Raises DataError where the folder can't be written."""
    made = {key: kept for key, kept in _tables.items() if any(kept is schedule for schedule in schedules)}
    files = {_file(folder, key): json.dumps(_to_json(schedule)) for key, schedule in made.items()}
    try:
        for old in set((folder / FOLDER).glob("*.json")) - files.keys():
            old.unlink()
        for path, text in files.items():
            write_whole(path, text)
    except OSError as error:
        raise DataError(
            f"cannot write {error.filename or folder}: {error.strerror or error}; mend it, or give another run.folder"
        ) from error
    return {VERIFIED: json.dumps([schedule.digest() for schedule in schedules])}


def _left(folder: Path, key: str) -> Schedule | None:
    """Returns the table that the launcher has left, None if it has left none or it isn't that any more."""
    if not (digests := verified_digests()):
        return None
    try:
        kept = json.loads(_file(folder, key).read_text(encoding="utf-8"))
        costs = kept["costs"]
        schedule = replace(Schedule.from_text(kept["schedule"]), costs=Costs(**costs) if costs else None)
    except (OSError, ValueError, KeyError, TypeError, ScheduleError):
        return None
    return schedule if schedule.digest() in digests else None


def _to_json(schedule: Schedule) -> dict[str, Any]:
    return {"schedule": schedule.to_text(), "costs": schedule.costs and asdict(schedule.costs)}


def verified_digests() -> Collection[str]:
    """Returns the digests of the tables that this rank's launcher has verified."""
    return frozenset(json.loads(os.environ.get(VERIFIED) or "[]"))


def one_table(schedule: Schedule, layers: Sequence[int], rows: Sequence[int]) -> Collection[str]:
    """Makes sure that all ranks run one table, which somebody has verified; a collective call of all ranks.

    layers, rows: how many layers each stage has, and where the rows of each rank begin, which must be alike too. Returns the
    digests that need no verification. Raises CommunicationError that names the ranks that differ, and ScheduleError, both on
    every rank.
    """
    digest = schedule.digest()
    known = digest in verified_digests()
    agree_on(schedule=digest, layers=list(layers), rows=list(rows), launcher_has_verified=known)
    if not known:
        first = not dist.is_initialized() or dist.get_rank() == 0
        said = gather_json(_fault(schedule) if first else None)[0]
        if said:
            raise ScheduleError(said)
    return (digest,)


def _fault(schedule: Schedule) -> str | None:
    try:
        verify(schedule)
    except ScheduleError as error:
        return str(error)
    return None


def _file(folder: Path, key: str) -> Path:
    return folder / FOLDER / f"{key}.json"
