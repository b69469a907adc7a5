"""What a plan says in words, compared with its own rows and with plans made on purpose."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from pinisi.cli import main as cli
from pinisi.costs import Setting, gpt_shape, shape_of
from pinisi.costs.presets import preset
from pinisi.models import read_spec
from pinisi.plan import advice
from pinisi.plan.advice import (
    layers_of_rank,
    open_rows,
    placement,
    what_would_fit,
    whether_passes_pay,
)
from pinisi.plan.planner import Plan, make_plan
from pinisi.plan.show import _count
from tests.plan.test_planner import request

GIB = 2**30


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(request(microbatches=(12,)))


def spans(text: str) -> list[int]:
    """The numbers that "0-1, 8" stands for."""
    found: list[int] = []
    for part in text.split(", ") if text != "none" else []:
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def test_the_ranks_of_a_row_have_each_layer_once(plan: Plan) -> None:
    for row in plan.rows:
        c = row.candidate
        every = [layers_of_rank(c, rank) for rank in range(c.ranks)]
        assert sorted(layer for text in every for layer in spans(text)) == list(range(19))
        counts = [sum(c.layers[stage] for stage in stages) for stages in c.layout.stages]
        assert [len(spans(text)) for text in every] == counts
        assert f"rank 1: {every[1]}" in placement(3, c) and placement(3, c).startswith("row 3")


def test_whether_vocabulary_passes_pay_follows_from_the_rows(plan: Plan) -> None:
    assert whether_passes_pay(plan).startswith("vocabulary passes pay here")  # the head is many layers' work
    small = make_plan(
        request(shape=gpt_shape(1024, 16, 8, 2003, 512), microbatches=(12,), schedules=("1f1b",))
    )
    said = whether_passes_pay(small)
    assert said.startswith("vocabulary passes don't pay here") and "layers' work" in said
    best = [
        next(r for r in small.rows if bool(r.candidate.barriers) is with_passes)
        for with_passes in (True, False)
    ]
    if all(row.status == "fits" for row in best):
        slower = 100 * (1 - best[0].tokens_per_second / best[1].tokens_per_second)
        assert f"{slower:.1f} % slower" in said and slower > 0
    shape = shape_of(read_spec(preset("qwen3-0.6b") or {}))
    alone = make_plan(
        request(shape=shape, setting=Setting(4096, 1), ranks=2, replicas=(1, 2), microbatches=(16,))
    )
    assert alone.rows[0].candidate.ranks == 1 and not alone.rows[0].candidate.barriers
    assert "one rank each" in whether_passes_pay(alone)


def test_rows_without_time_come_first_where_they_may_be_better() -> None:
    hurried = make_plan(request(seconds=0.2, microbatches=(48, 96)))
    rows = [row for row in hurried.rows if row.status == "not simulated"]
    best = max(row.tokens_per_second for row in hurried.rows)
    better = [row for row in rows if 512 * row.candidate.whole_step / row.candidate.bound > best]
    assert rows and better
    assert [row for _, row in open_rows(hurried)] == better
    assert all(hurried.rows[n - 1] is row for n, row in open_rows(hurried))


def test_what_would_fit_does_fit() -> None:
    shape = gpt_shape(1024, 16, 8, 5003, 512)
    whole = make_plan(request(shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",)))
    room = min(max(row.peaks) for row in whole.rows if row.memory) * 0.6
    tight = make_plan(request(shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",), limit=room))
    assert {row.status for row in tight.rows} == {"too large"}
    said = what_would_fit(tight)
    ranks = int(re.search(r"at most (\d+) ", said)[1])  # type: ignore[index]

    def fits(ranks: int) -> bool:
        asked = request(shape=shape, ranks=ranks, microbatches=(4 * ranks,), schedules=("1f1b",), limit=room)
        return make_plan(asked).rows[0].status == "fits"

    assert fits(ranks) and not (ranks > 4 and fits(ranks // 2))
    found = re.search(r"least memory on 2 ranks: ([\d.]+) GiB", said)
    if found:
        enough = request(
            shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",), limit=(float(found[1]) + 0.06) * GIB
        )
        assert make_plan(enough).rows[0].status == "fits"
    none = make_plan(request(shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",), limit=2**20))
    assert "needs more than" in what_would_fit(none) and "no pipeline of up to 16 ranks" in what_would_fit(
        none
    )


def test_what_there_was_no_time_for_is_not_said_not_to_fit(monkeypatch) -> None:
    shape = gpt_shape(1024, 12, 8, 5003, 512)
    whole = make_plan(request(shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",)))
    room = min(max(row.peaks) for row in whole.rows if row.memory) * 0.6
    tight = make_plan(request(shape=shape, ranks=2, microbatches=(8,), schedules=("1f1b",), limit=room))
    tried = []

    def hurried(asked):
        tried.append(asked.ranks)
        plan = make_plan(asked)
        rows = [
            dataclasses.replace(row, status="not simulated") if row.status == "fits" else row
            for row in plan.rows
        ]
        return dataclasses.replace(plan, rows=rows)

    monkeypatch.setattr(advice, "make_plan", hurried)
    said = what_would_fit(tight)
    first = int(re.search(r"a pipeline of (\d+) ranks may fit: there was no time", said)[1])  # type: ignore[index]
    assert first in tried and tried == [4, 8, 12] and "no pipeline" not in said


def test_small_models_are_counted_in_millions() -> None:
    assert [_count(n) for n in (1.24e9, 5.96e8, 99e6, 2.4e6)] == ["1.24B", "0.60B", "99M", "2.4M"]


def test_json_alone_is_on_standard_output(capsys, tmp_path) -> None:
    arguments = ["plan", "qwen3-0.6b", "--ranks", "2", "--schedules", "gpipe", "--microbatches", "4"]
    for dash in (["--json", "-"], ["--json=-"]):
        assert cli([*arguments, *dash]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["model"] == "qwen3-0.6b" and "tokens/s" in said.err
    assert cli([*arguments, "--json", str(tmp_path / "plan.json")]) == 0
    said = capsys.readouterr()
    assert "tokens/s" in said.out and not said.err
    assert json.loads((tmp_path / "plan.json").read_text())["ranks"] == 2


def test_a_model_of_the_hub_that_can_not_be_read_is_named(capsys) -> None:
    assert cli(["plan", "Qwen/Qwen3-9B", "--ranks", "2"]) == 2
    said = capsys.readouterr().err
    assert "'Qwen/Qwen3-9B'" in said and "nearest preset is qwen3-8b" in said
    assert cli(["plan", "qwen3-8", "--ranks", "2"]) == 2
    assert "nearest preset is qwen3-8b" in capsys.readouterr().err
