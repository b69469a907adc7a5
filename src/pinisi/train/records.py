"""Writes what a run measured of itself: timeline.json and memory.json, which the report reads."""

from __future__ import annotations

import json
from pathlib import Path

from pinisi.base.files import write_whole
from pinisi.engine.engine import Engine, StepResult
from pinisi.engine.executor import gather_timeline
from pinisi.engine.measure import measured_costs
from pinisi.parallel.agree import gather_json
from pinisi.schedule import simulate
from pinisi.train import memory


def is_recorded(step: int, every: int, steps: int) -> bool:
    """Tells whether the passes of a step (from 0) are timed: each `every`, or, where that is 0, one near the end."""
    return step % every == every - 1 if every else step == max(0, steps - 2)


def write_timeline(folder: Path, step: int, engine: Engine, result: StepResult, leader: bool) -> None:
    """Writes when each pass of a step ran, and when it was predicted to run; a collective call of a pipeline's ranks."""
    measured = gather_timeline(engine.schedule, result.spans, engine.communicator)
    predicted = simulate(engine.schedule, measured_costs(measured))
    if leader:
        record = {
            "step": step,
            "schedule": engine.schedule.to_text(),
            "predicted": predicted.to_dict(),
            "measured": measured.to_dict(),
        }
        write_whole(folder / "timeline.json", json.dumps(record))


def write_memory(folder: Path, engine: Engine, leader: bool) -> None:
    """Writes what each rank of a pipeline held; a collective call of its ranks."""
    everyone = gather_json(memory.parts(engine), engine.communicator.world)
    if leader:
        record = {"ranks": [{"rank": rank, **mine} for rank, mine in enumerate(everyone)]}
        write_whole(folder / "memory.json", json.dumps(record))
