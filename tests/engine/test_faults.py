"""Faults of benchmarks/faults.py, one of each of ten kinds at a fixed moment.

The run says what was wrong, leaves nothing behind, and is resumed bit for bit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
from fault_judge import Case, Lab, judge, started_outside
from fault_kinds import KINDS
from fault_runs import MARK, Moment, Outcome, Strike, inside, left_behind

from tests.effort import only_full

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
        pytest.param("rank killed", Moment("saving", 1, 0.1), marks=only_full),
        pytest.param("rank stopped", Moment("step", 2), marks=only_full),
        pytest.param("disk full", Moment("building"), marks=only_full),
        pytest.param("launcher killed", Moment("step", 3), marks=only_full),
        pytest.param("SIGTERM", Moment("step", 1), marks=only_full),
        pytest.param("checkpoint truncated", Moment("time"), marks=only_full),
        ("tensors flipped", Moment("time")),
        pytest.param("index flipped", Moment("time"), marks=only_full),
        pytest.param("checkpoint deleted", Moment("time"), marks=only_full),
        ("shard flipped", Moment("time")),
    ],
)
def test_a_run_comes_through(lab, kind, moment):
    if kind in ("launcher killed", "SIGTERM", "disk full"):  # not for the tests' own process
        lab.start = started_outside
    verdict = judge(lab, Case(3, 0, kind, 2, 1, moment))
    assert verdict.struck or KINDS[kind].strike is None
    assert not verdict.failures, (verdict.failures, verdict.note)


CASE = Case(3, 0, "shard flipped", 2, 1, Moment("time"))


def said(code: int | None, text: str = "", left: tuple[str, ...] = ()) -> Outcome:
    return Outcome(code, "", text, True, list(left), 1.0)


def test_an_end_that_is_none_a_hang_and_a_process_left_are_noticed(lab):
    lab.start = lab.again = lambda *_: said(0)
    assert judge(lab, CASE).failures.keys() == {"false_end", "damaged", "not_equal"}
    lab.start = lambda *_: said(None, "error: km.tokens is damaged", ("pinisi-rank-1 (T)",))
    assert judge(lab, CASE).failures.keys() == {"hung", "left", "damaged", "false_end", "not_equal"}
    lab.start = lambda *_: said(1, "Traceback")
    assert "unclear" in judge(lab, CASE).failures


@pytest.mark.parametrize(("changed", "failures"), [(False, set()), (True, {"not_equal"})])
def test_one_bit_of_a_loss_is_noticed(lab, whole, changed, failures):
    def ended(_: list[str], run: Path, *__: object) -> Outcome:
        shutil.copytree(whole, run)
        text = (run / "metrics.jsonl").read_text()
        at = text.index('"step": 4, "loss": ') + len('"step": 4, "loss": ')
        loss = text[at : text.index(",", at)]
        other = loss[:-1] + str((int(loss[-1]) + 1) % 10)
        (run / "metrics.jsonl").write_text(text.replace(loss, other) if changed else text)
        return said(0)

    lab.start = ended
    verdict = judge(lab, Case(3, 0, "SIGTERM", 2, 1, Moment("time")))
    assert verdict.failures.keys() == failures, verdict.failures


def test_a_process_that_is_left_is_found_and_ended(tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(run)})
    assert left_behind(tmp_path / "other", 0) == []
    assert left_behind(run, 0.1) == ["sleep (S)"]
    assert process.wait(5) == -9
