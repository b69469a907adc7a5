"""What `pinisi bench heads` compares: the same work in all three, and the best split of each kind."""

from __future__ import annotations

import json
import sys
from subprocess import run

import pytest

from pinisi.bench.heads import MOVED, SPLIT, Model, against_balance, cases_of
from pinisi.plan import redistributed_layers
from pinisi.schedule import simulate

MESSAGES = dict.fromkeys(("p2p", "c0", "c1", "u", "c2", "embedding"), 0.001)


@pytest.mark.parametrize("extra", [1, 2, 3])
@pytest.mark.parametrize("ranks", [3, 8])
def test_all_have_the_same_work_and_no_rank_more_than_it_must(ranks: int, extra: int) -> None:
    model = Model(ranks, extra, 0.2)
    layers, layout, split = model.split()
    assert sum(layers) == 4 * ranks and layers[-1] >= 1
    assert sum(split.work(layout)) == pytest.approx(0.2 * ranks)
    assert split.busiest(layout) == pytest.approx(0.2, rel=1e-4)
    assert model.alike().work(layout) == pytest.approx([0.2] * ranks)
    layers, layout, moved = model.moved()
    embedding = 1.24e-3 * model.factor * ranks
    assert sum(moved.work(layout)) == pytest.approx(0.2 * ranks - embedding)
    layer = model.forward + model.backward
    best = redistributed_layers([layer] * (4 * ranks - 1), ranks, 0.0, model.head + (extra + 1) * layer)
    work = [n * layer for n in best]
    work[-1] += model.head + (extra + 1) * layer
    assert moved.busiest(layout) == pytest.approx(max(work))


def test_steps_are_held_against_perfect_balance() -> None:
    rows = []
    for label, schedule, costs, factor in cases_of(4, [4, 9], 0.2, [1, 3])(MESSAGES):
        taken = simulate(schedule, costs).makespan
        row = {"schedule": label, "ranks": 4, "microbatches": schedule.microbatches, "messages": MESSAGES}
        rows.append({**row, "measured_seconds": taken, "factor": factor})
    found = against_balance(rows, 0.2, [1, 3])
    assert len(found) == len(rows) == 8
    for row in found:
        assert row["balanced_seconds"] > 0.2 * row["microbatches"]
        if row["schedule"].startswith(SPLIT):
            assert row["balance"] > 0.97 and row["growth"] == pytest.approx(1.0, abs=0.01)
        else:
            assert row["schedule"].startswith(MOVED) and row["balance"] < 0.75
            assert row["growth"] == pytest.approx(row["busiest"], abs=0.01) and row["growth"] < 0.65


def test_real_processes(tmp_path) -> None:
    """Two ranks, one short step: the file has a row for each way."""
    out = tmp_path / "rows.json"
    options = [
        "--ranks",
        "2",
        "--microbatches",
        "2,4",
        "--extra-heads",
        "1",
        "--interval",
        "0.02",
        "--steps",
        "1",
        "--json",
    ]
    done = run(
        [sys.executable, "-m", "pinisi", "bench", "heads", *options, str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["schedule"] for row in rows] == [f"{SPLIT}, D = 1"] * 2 + [f"{MOVED}, D = 1"] * 2
    assert all(row["measured_seconds"] > 0.02 * row["microbatches"] for row in rows)
