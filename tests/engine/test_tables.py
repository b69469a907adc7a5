"""One table for all ranks: built and verified by the launcher, taken by its digest, compared by all."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Schedule, build, layout_of, lower, names, verify_once
from pinisi.train import tables
from tests.engine.runs import pinisi


def drawn_costs(rng: random.Random, layout) -> Costs:
    return Costs(
        forward=[[rng.random() for _ in stages] for stages in layout.stages],
        backward=[[rng.random() for _ in stages] for stages in layout.stages],
        weight=rng.random(),
        head_s=[rng.random() for _ in layout.stages],
        head_t=rng.random(),
        p2p=0.01,
    )


@pytest.fixture
def fresh(monkeypatch):
    """Forgets the tables of this process, as a rank begins."""
    monkeypatch.setattr(tables, "_tables", type(tables._tables)())
    monkeypatch.delenv(tables.VERIFIED, raising=False)
    return monkeypatch


# interlaced splits the vocabulary always
@pytest.mark.parametrize(
    "name, barriers", [(n, b) for n in names() for b in (0, 1, 2) if b or n != "interlaced"]
)
def test_a_rank_takes_what_the_launcher_left_and_builds_nothing(name, barriers, fresh, tmp_path):
    """The same table, of the same digest, lowered to the same program."""
    rng = random.Random(f"{name}{barriers}")
    layout = layout_of(name, 3, barriers=barriers)
    costs = drawn_costs(rng, layout)
    made = tables.table_for(tmp_path, name, layout, None, 7, costs)
    assert made == build(name, 3, 7, barriers=barriers, costs=costs)
    more = tables.leave_tables([made], tmp_path)
    tables._tables.clear()
    fresh.setenv(tables.VERIFIED, more[tables.VERIFIED])
    fresh.setattr(tables, "build", None)
    taken = tables.table_for(tmp_path, name, layout, None, 7, costs)
    assert taken is not made and taken == made and taken.costs == made.costs
    assert taken.digest() == made.digest()
    theirs, ours = lower(taken), lower(made)
    assert theirs.instructions == ours.instructions and theirs.collectives == ours.collectives


def test_a_table_that_was_changed_or_is_for_other_costs_is_not_taken(fresh, tmp_path):
    rng = random.Random(1)
    layout = layout_of("1f1b", 3, barriers=1)
    costs = drawn_costs(rng, layout)
    made = tables.table_for(tmp_path, "1f1b", layout, None, 6, costs)
    more = tables.leave_tables([made], tmp_path)
    built = []
    fresh.setattr(tables, "build", lambda *a, **k: built.append(k["costs"]) or build(*a, **k))

    def asked(costs: Costs) -> Schedule:
        tables._tables.clear()
        return tables.table_for(tmp_path, "1f1b", layout, None, 6, costs)

    assert asked(costs) == made and len(built) == 1  # nothing in the environment says that it was verified
    fresh.setenv(tables.VERIFIED, more[tables.VERIFIED])
    asked(costs)
    assert len(built) == 1
    asked(drawn_costs(rng, layout))
    assert len(built) == 2
    (file,) = (tmp_path / tables.FOLDER).iterdir()
    kept = json.loads(file.read_text())
    for damaged in (
        json.dumps({**kept, "schedule": kept["schedule"].replace("microbatches 6", "microbatches 7")}),
        json.dumps({**kept, "costs": {**kept["costs"], "p2p": 0.02}}),
        "{",
        json.dumps({"schedule": 1}),
    ):
        file.write_text(damaged)
        assert asked(costs) == made
    assert len(built) == 6


def test_what_was_not_verified_is_verified_and_what_was_is_trusted():
    schedule = build("1f1b", 2, 4, barriers=1)
    row = list(schedule.order[0])
    wrong = replace(schedule, order=(tuple(row[1:]), schedule.order[1]))
    verify_once(schedule, ())
    verify_once(wrong, [wrong.digest()])
    with pytest.raises(ScheduleError):
        verify_once(wrong, [schedule.digest()])


def test_digests_tell_tables_and_the_costs_that_they_are_lowered_by_apart():
    schedule = build("1f1b", 2, 4, barriers=1)
    others = [
        build("1f1b", 2, 5, barriers=1),
        build("1f1b", 2, 4, barriers=2),
        build("gpipe", 2, 4, barriers=1),
        replace(schedule, costs=replace(schedule.costs, c1=0.25)),
        replace(schedule, costs=None),
    ]
    digests = [each.digest() for each in (schedule, *others)]
    assert len(set(digests)) == len(digests)
    assert Schedule.from_text(schedule.to_text()).digest() == replace(schedule, costs=None).digest()


def test_a_run_leaves_its_table_where_its_ranks_find_it(project, whole):
    (file,) = (whole / tables.FOLDER).iterdir()
    kept = Schedule.from_text(json.loads(file.read_text())["schedule"])
    assert (kept.layout.ranks, kept.microbatches) == (2, 3)
    timeline = json.loads((whole / "timeline.json").read_text())
    assert timeline["schedule"] == kept.to_text()


def test_a_table_of_the_user_that_hangs_is_refused_before_a_rank_starts(project, tmp_path):
    schedule = build("1f1b", 2, 3, barriers=1)
    rows = [list(row) for row in schedule.order]
    rows[0].reverse()
    wrong = replace(schedule, order=tuple(map(tuple, rows)))
    (tmp_path / "table").write_text(wrong.to_text())
    done = pinisi(
        "train",
        str(project / "config.toml"),
        f"pipeline.table={tmp_path}/table",
        f"run.folder={tmp_path}/run",
    )
    assert done.returncode == 2 and done.stderr.count("error:") == 1, done.stderr
    assert not (tmp_path / "run" / "logs").exists()
