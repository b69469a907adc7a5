"""What `pinisi bench sharded` compares, plants and demands."""

from __future__ import annotations

import json

import pytest
import torch

from pinisi.bench import sharded, sharded_exact, sharded_link, sharded_resume
from pinisi.costs.memory import parameters_of
from pinisi.schedule import build, lower
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.simulate import timed

EXACT = {
    "case": "1f1b",
    "dtype": "float64",
    "replicas": 2,
    "seed": 0,
    "bits": True,
    "after_bits": True,
    "worst": 0.0,
    "shares": [0.5, 0.5, 0.5, 0.5],
    "sums": [2, 2, 2, 2],
}
THREE = {**EXACT, "replicas": 3, "bits": False, "worst": 1e-15, "shares": [0.33, 0.34, 1 / 3]}
CONTROL = {"seed": 0, "differs": True}
RESUMED = {"seed": 0, "replicas": [3, 2, 3], "same_names": True, "worst": {"weight": 1e-14}}
REFUSED = {"schedule": "1f1b", "barriers": 1, "kind": "twice", "refused": True, "right": True}
LINK = {
    "schedule": "zbv",
    "seed": 0,
    "during_seconds": 1.0,
    "after_seconds": 1.1,
    "saved": 0.09,
    "simulated_saved": 0.1,
    "hidden": 0.5,
    "error_percent": {"during": 0.0, "after": 0.0},
}


def judged(exact=EXACT, three=THREE, control=CONTROL, resumed=RESUMED, refused=REFUSED, link=LINK):
    return [met for _, met in sharded.verdicts([exact, three], [control], [resumed], [refused], [link])]


def test_each_demand_is_missed_by_what_falls_short_of_it():
    assert all(judged())
    short = [
        {"exact": {**EXACT, "bits": False}},
        {"three": {**THREE, "worst": 1e-11}},
        {"three": {**THREE, "after_bits": False}},
        {"control": {**CONTROL, "differs": False}},
        {"three": {**THREE, "shares": [0.5, 0.3, 0.2]}},
        {"resumed": {**RESUMED, "worst": {"weight": 1e-11}}},
        {"resumed": {**RESUMED, "same_names": False}},
        {"refused": {**REFUSED, "refused": False}},
        {"refused": {**REFUSED, "right": False}},
        {"link": {**LINK, "during_seconds": 1.2, "saved": -0.09}},
    ]
    for rows in short:
        assert judged(**rows).count(False) == 1, rows


@pytest.mark.parametrize("slow", [False, True])
def test_only_what_gates_sets_the_exit_code(monkeypatch, tmp_path, slow):
    link = {**LINK, "during_seconds": 1.2, "saved": -0.09} if slow else LINK
    found = {
        "two": {"rows": [EXACT], "control": [CONTROL]},
        "three": {"rows": [THREE], "control": [CONTROL]},
        "link": {"rows": [link]},
    }
    monkeypatch.setattr(sharded, "_measured", lambda part, arguments: found[part])
    monkeypatch.setattr(sharded_resume, "measure", lambda seeds: [RESUMED])
    monkeypatch.setattr(sharded, "planted", lambda: [REFUSED])
    assert sharded.main(["--json", str(tmp_path / "out.json")]) == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["verdicts"]) == 7
    monkeypatch.setattr(sharded, "planted", lambda: [{**REFUSED, "refused": False}])
    assert sharded.main([]) == 1


def test_faults_of_four_kinds_are_planted_and_refused():
    program = with_reductions(lower(build("zbv", 2, 4, barriers=1)), tied=False)
    kinds = {}
    assert sharded._refusal(program) is None
    for kind, wrong in sharded.faults(program):
        kinds[kind] = kinds.get(kind, 0) + 1
        assert sharded._refusal(wrong), kind
    assert kinds == {"missing": 8, "twice": 8, "too early": 8, "another order": 2}


def test_the_control_launches_before_the_last_pass():
    program = with_reductions(lower(build("zb-h1", 2, 3, barriers=2)), tied=False)
    assert "comes before" in str(sharded._refusal(sharded_exact.early(program)))
    for right, wrong in zip(program.instructions, sharded_exact.early(program).instructions, strict=True):
        assert sorted(map(str, right)) == sorted(map(str, wrong))


def test_a_steps_tokens_are_drawn_by_seed():
    steps = [sharded_exact.random_step(seed) for seed in (0, 0, 1)]
    assert len(steps[0]) == sharded_exact.MICROBATCHES
    assert torch.equal(steps[0][0].tokens, steps[1][0].tokens)
    assert not torch.equal(steps[0][0].tokens, steps[2][0].tokens)


@pytest.mark.parametrize("case", sharded_link.CASES, ids=lambda case: case.label)
def test_the_sums_are_those_of_all_parameters(case):
    messages = dict.fromkeys(("p2p", "embedding", "c0", "c1", "c2", "u"), 1e-3)
    schedule, costs, seconds = sharded_link.planned(case, 7, messages)
    shape = sharded_link.shape_of_case(case)
    layout = schedule.layout
    layers = [shape.layers // (layout.last_stage + 1)] * (layout.last_stage + 1)
    rows = [shape.vocabulary // layout.ranks] * layout.ranks
    held = parameters_of(shape, layout, layers, rows)
    for rank in range(layout.ranks):
        mine = sum(s for message, s in seconds.items() if message.source == rank)
        assert mine * sharded_link.LINK == pytest.approx(4 * held[rank] / 2)
    program = lower(schedule)
    alone = max(timed(program, costs).now)
    after = sharded_link.after_all(program, costs, seconds)
    assert alone < after <= alone + max(seconds.values()) * len(seconds)
