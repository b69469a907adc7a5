"""What `pinisi bench heads` compares: the same work in all three, and the best split of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinisi.bench import heads, processes
from pinisi.bench.heads import MOVED, SPLIT, HeadsModel, against_balance, cases_of
from pinisi.costs import redistributed_layers
from pinisi.schedule import simulate

MESSAGES = dict.fromkeys(("p2p", "c0", "c1", "u", "c2", "embedding"), 0.001)


@pytest.mark.parametrize("extra", [1, 2, 3])
@pytest.mark.parametrize("ranks", [3, 8])
def test_all_have_the_same_work_and_no_rank_more_than_it_must(ranks: int, extra: int) -> None:
    model = HeadsModel(ranks, extra, 0.2)
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


def simulated(ranks: int, microbatches: list[int], extra: list[int]) -> list[dict]:
    """What `measure` would give if every step took what it is simulated to take."""
    rows = []
    for label, schedule, costs, factor in cases_of(ranks, microbatches, 0.2, extra)(MESSAGES):
        row = {"schedule": label, "ranks": ranks, "microbatches": schedule.microbatches, "messages": MESSAGES}
        rows.append({**row, "measured_seconds": simulate(schedule, costs).makespan, "factor": factor})
    return rows


def test_steps_are_held_against_perfect_balance() -> None:
    found = against_balance(simulated(4, [4, 9], [1, 3]), 0.2, [1, 3])
    assert len(found) == 8
    for row in found:
        assert row["balanced_seconds"] > 0.2 * row["microbatches"]
        if row["schedule"].startswith(SPLIT):
            assert row["balance"] > 0.97 and row["growth"] == pytest.approx(1.0, abs=0.01)
        else:
            assert row["schedule"].startswith(MOVED) and row["balance"] < 0.75
            assert row["growth"] == pytest.approx(row["busiest"], abs=0.01) and row["growth"] < 0.65


def test_the_command_starts_ranks_and_writes_what_they_measured(tmp_path, monkeypatch, capsys) -> None:
    started = []

    def launch(arguments: list[str], ranks: int, folder: Path, *, threads: int, environment: None) -> int:
        started.append((arguments[:2], ranks, threads))
        Path(arguments[-1]).write_text(json.dumps({"rows": simulated(ranks, [3, 5], [2])}))
        return 0

    monkeypatch.setattr(processes, "launch", launch)
    out = tmp_path / "bench" / "rows.json"
    options = ["--ranks", "3", "--microbatches", "3,5", "--extra-heads", "2", "--json", str(out)]
    assert heads.main(options) == 0 and started == [(["bench", "heads"], 3, 1)]
    rows = json.loads(out.read_text())["rows"]
    assert [row["schedule"] for row in rows] == [f"{SPLIT}, D = 2"] * 2 + [f"{MOVED}, D = 2"] * 2
    assert len(capsys.readouterr().out.splitlines()) == 4
    monkeypatch.setattr(processes, "launch", lambda *_, **__: 75)
    with pytest.raises(SystemExit) as end:
        heads.main(options)
    assert end.value.code == 75
