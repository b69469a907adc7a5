"""Faults of benchmarks/faults.py, one of each of ten kinds at a fixed moment.

The run says what was wrong, leaves nothing behind, and is resumed bit for bit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
from fault_judge import Case, Lab, judge, started_outside
from fault_kinds import KINDS
from fault_runs import Moment, Outcome, Strike, inside

STEPS = 6  # of the fixture's run


def started_inside(arguments: list[str], run: Path, strike: Strike | None, _: float) -> Outcome:
    return inside(["train", *arguments], run, strike=strike)


@pytest.fixture
def lab(project, whole, tmp_path) -> Lab:
    references = {(2, 1): (whole, 5.0)}
    settings = ("data.evaluation=none",)
    return Lab(project, tmp_path, STEPS, settings, started_inside, started_inside, references)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("rank killed", Moment("saving", 1, 0.1)),
        ("rank stopped", Moment("step", 2)),
        ("disk full", Moment("building")),
        ("launcher killed", Moment("step", 3)),
        ("SIGTERM", Moment("step", 1)),
        ("checkpoint truncated", Moment("time")),
        ("tensors flipped", Moment("time")),
        ("index flipped", Moment("time")),
        ("checkpoint deleted", Moment("time")),
        ("shard flipped", Moment("time")),
    ],
)
def test_a_run_comes_through(lab, kind, moment):
    if kind in ("launcher killed", "SIGTERM", "disk full"):  # not for the tests' own process
        lab.start = started_outside
    verdict = judge(lab, Case(3, 0, kind, 2, 1, moment))
    assert verdict.struck or KINDS[kind].strike is None
    assert not verdict.failures, (verdict.failures, verdict.note)
