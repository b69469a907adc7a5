"""What `pinisi bench phases` measures and when it says that a demand isn't met."""

import copy
import json
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.bench import phases as bench
from pinisi.bench.phases_model import KNOWN, LANGUAGES, NEW, SIZES, bits_per_byte, continued_run, mixture_of
from pinisi.train.phases import phases_of, rate_jumps

GOOD = {
    "seed": 0,
    "gain": {"en": 0.004, "zh": 0.009},
    "replay": {"change": {**dict.fromkeys(NEW, -0.2), "en": 0.01, "zh": 0.015}, "alarms": [[], [], []]},
    "without": {"change": dict.fromkeys(LANGUAGES, 0.2), "alarms": [["zh"], ["en", "zh"], ["en", "zh"]]},
}


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("gain", "en"), 0.01, "the base gains 1.00% in its last fifth in en"),
        (("replay", "change", "zh"), 0.02, "zh loses 2.00% with replay"),
        (("replay", "change", "lo"), 0.0, "lo doesn't gain with replay"),
        (("without", "change", "en"), 0.0999, "en loses only 9.99% without replay"),
        (("without", "alarms"), [[], ["zh"], ["en", "zh"]], "no alarm names en within 2 intervals"),
        (("replay", "alarms"), [[], [], ["war"]], "a false alarm of war with replay"),
    ],
)
def test_what_holds_holds_and_each_fault_is_named(where, value, said) -> None:
    assert list(bench.faults_of(GOOD)) == []
    row = copy.deepcopy(GOOD)
    inner = row
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    (fault,) = bench.faults_of(row)
    assert said in fault


def test_what_is_not_a_number_holds_nothing() -> None:
    row = copy.deepcopy(GOOD)
    row["gain"]["en"] = row["replay"]["change"]["zh"] = row["without"]["change"]["en"] = float("nan")
    assert len(list(bench.faults_of(row))) == 3


def test_mixtures_are_shares_and_the_control_sees_nothing_of_what_the_base_knows() -> None:
    for replay in (0.0, 0.75):
        found = mixture_of(replay)
        assert sum(found.values()) == pytest.approx(1)
        assert sum(found.get(name, 0) for name in KNOWN) == pytest.approx(replay)
    assert set(mixture_of(0.0)) == set(NEW) and set(mixture_of(0.5)) == set(LANGUAGES)


def test_both_arms_have_two_phases_of_one_schedule(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pinisi.bench.phases_model._model", lambda work: {"config": {"model_type": "qwen3"}})
    for arm in bench.ARMS:
        config = continued_run(tmp_path, 0, arm)
        phases = phases_of(config)
        assert [phase.steps for phase in phases] == list(SIZES["steps"]) and rate_jumps(phases) == []
        assert config.watch.tolerance == 0.02 and config.watch.noise == 3.0 and config.watch.languages is None
        assert config.run.start is not None and Path(config.run.start).parts[-3:-1] == ("base", "checkpoints")


def test_alarms_are_read_from_a_runs_metrics(tmp_path) -> None:
    def line(step: int, alarm: bool) -> dict:
        standing = {"en": {"worse": 0.1, "noise": 0.01, "since": 0, "alarm": alarm}}
        return {"step": step, "evaluation": {"en": {"loss": 1}}, **({"standing": standing} if step else {})}

    lines = [line(0, False), {"step": 1, "loss": 2}, line(5, False), line(10, True)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert bench.alarms_of(tmp_path) == [[], ["en"]]
    assert bits_per_byte({"loss": 0.6931471805599453, "tokens": 30, "bytes": 60}) == pytest.approx(0.5)


def test_a_corpus_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(DataError, match="pinisi corpus fetch"):
        bench.main(["--corpus", str(tmp_path), "--work", str(tmp_path / "work")])
