"""The alarm for forgetting: its unit of noise against the bootstrap, how often it errs, and what it says in runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pinisi.config import load
from pinisi.data import TokenShards
from pinisi.evaluate.statistics import paired_difference
from pinisi.train.forgetting import FOLDER, ForgettingWatch, difference_error, wavering
from pinisi.train.standing import DOCUMENTS, alarm_text
from tests.engine.runs import pinisi


def watch_of(project, folder, *more: str) -> ForgettingWatch:
    return ForgettingWatch(load(project / "config.toml", [f"run.folder={folder}", *more]))


def documents(draw: np.random.Generator, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and nats at about three a token, which differ from document to document."""
    tokens = np.round(np.exp(draw.normal(4, 0.8, count))) + 2
    return tokens, tokens * 3 * np.exp(draw.normal(0, 0.2, count))


def entry(nats: np.ndarray, tokens: np.ndarray) -> dict:
    pairs = [(float(a), int(b)) for a, b in zip(nats, tokens, strict=True)]
    return {"loss": float(nats.sum() / tokens.sum()), "tokens": 1, "bytes": 1, DOCUMENTS: pairs}


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_a_difference_is_the_bootstraps(seed) -> None:
    draw = np.random.default_rng(seed)
    tokens, before = documents(draw, 200)
    after = before * np.exp(draw.normal(0.02, 0.05, 200))
    pair = (np.column_stack([each, tokens]) for each in (before, after))
    found = paired_difference(*pair, lambda sums: sums[:, 0] / sums[:, 1], seed, swaps=1)
    width = (found.high - found.low) / (2 * 1.96)
    assert difference_error(before, after, tokens) == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_wavering_is_the_noise_about_a_steady_course(noise) -> None:
    draw = np.random.default_rng(5)
    course = 3 - 0.02 * np.arange(400) + noise * draw.normal(size=400)
    assert wavering(course.tolist()) == pytest.approx(noise, rel=0.15, abs=1e-9)
    assert wavering([3.0, 9.0, 1.0, 2.0]) == 0.0  # too few to say


def courses(
    watch: ForgettingWatch, seed: int, changes: list[float], spread: float = 0.03, shake: float = 0.003
) -> list[int]:
    """The evaluations whose alarm names "en", of a loss that is 1 + changes[i] of the first one's on average."""
    draw = np.random.default_rng(seed)
    tokens, first = documents(draw)
    raised = []
    for number, change in enumerate([0.0, *changes]):
        level = (1 + change) * (1 + shake * draw.normal())
        nats = first * level * np.exp(spread * draw.normal(size=len(first)))
        standings = watch.evaluated(number, {"en": entry(nats, tokens)}, write=True)
        if any(each.alarm for each in standings.values()):
            raised.append(number)
    return raised


def test_noise_and_what_is_tolerated_raise_no_alarm_and_a_loss_does(project, tmp_path) -> None:
    steady = [courses(watch_of(project, tmp_path / f"a{seed}"), seed, [0.01] * 12) for seed in range(60)]
    assert sum(map(len, steady)) == 0
    lost = [courses(watch_of(project, tmp_path / f"b{seed}"), seed, [0.01, 0.08, 0.12]) for seed in range(60)]
    assert all(raised[:1] == [2] and 3 in raised for raised in lost)
    # the control: without its units of noise it cries wolf at what is tolerated
    bare = [
        courses(watch_of(project, tmp_path / f"c{seed}", "watch.noise=0.001"), seed, [0.019] * 6)
        for seed in range(20)
    ]
    assert sum(map(bool, bare)) >= 10


def test_only_named_languages_are_watched_and_0_units_are_no_alarm(project, tmp_path) -> None:
    assert courses(watch_of(project, tmp_path / "a", "watch.languages=['th']"), 0, [0.5]) == []
    assert courses(watch_of(project, tmp_path / "b", "watch.noise=0"), 0, [0.5]) == []
    assert courses(watch_of(project, tmp_path / "c"), 0, [0.5]) == [1]


def test_the_reference_is_the_best_evaluation_and_another_text_begins_anew(project, tmp_path) -> None:
    watch = watch_of(project, tmp_path)
    tokens, nats = documents(np.random.default_rng(1))
    for step, scale in enumerate((1.0, 0.8, 0.9)):
        found = watch.evaluated(step, {"en": entry(scale * nats, tokens)}, write=True)
    assert found["en"].worse == pytest.approx(0.125) and found["en"].since == 1 and found["en"].alarm
    assert watch.evaluated(3, {"en": entry(nats[:20], tokens[:20])}, write=True) == {}
    assert not watch.evaluated(4, {"en": entry(nats[:20], tokens[:20])}, write=True)["en"].alarm


def test_lost_answers_raise_an_alarm_beyond_their_binomial_noise(project, tmp_path) -> None:
    def asked(share: float, items: int = 100) -> dict:
        return {
            "copy-en": {
                "language": "en",
                "items": items,
                "chance": 0.25,
                "scores": {"accuracy": [share, 0, 1]},
            }
        }

    watch = watch_of(project, tmp_path)
    assert watch.answered(0, asked(0.9)) == {}
    # by hand: 0.9 becomes 92/104, 0.8 becomes 82/104; the errors are 0.0313 and 0.0400
    found = watch.answered(1, asked(0.8))["copy-en"]
    assert found.noise == pytest.approx(0.0508, abs=1e-4) and not found.alarm
    found = watch.answered(2, asked(0.6))["copy-en"]
    assert found.alarm and found.worse == pytest.approx(0.3)
    assert "copy-en +30.0 %" in alarm_text({"copy-en": found})
    draw = np.random.default_rng(0)
    raised = 0
    for _ in range(300):
        watch = watch_of(project, tmp_path)
        for step in range(2):
            found = watch.answered(step, asked(draw.binomial(50, 0.5) / 50, 50))
        raised += found["copy-en"].alarm
    assert raised <= 3


@pytest.fixture(scope="module")
def evaluated(project, tmp_path_factory) -> Path:
    """A run that trains on Thai alone, from a checkpoint that has learned Indonesian by heart."""
    folder = tmp_path_factory.mktemp("forgetting")
    common = (
        "pipeline.ranks=1",
        "pipeline.microbatches=2",
        "checkpoint.keep=1",
        "optimizer.schedule=constant",
    )
    more = ("run.steps=30", "optimizer.learning_rate=3e-2", "data.mixture={id = 1}")
    done = pinisi("train", str(project / "config.toml"), f"run.folder={folder}/first", *common, *more)
    assert done.returncode == 0, done.stderr
    start = folder / "first" / "checkpoints" / "step-00000030"
    for name, mixture in (("thai", "{th = 1}"), ("both", "{th = 1, id = 3}")):
        more = (f"run.start={start}", "run.steps=8", f"data.mixture={mixture}", "evaluation.every=2")
        done = pinisi(
            "train", str(project / "config.toml"), f"run.folder={folder}/{name}", *common, *more,
            "optimizer.learning_rate=1e-2", "watch.languages=['id']", "checkpoint.every=2", "evaluation.microbatches=99",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


def evaluations(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "evaluation" in line]


def test_a_run_that_forgets_says_so_and_one_that_repeats_does_not(evaluated) -> None:
    alone, both = (evaluations(evaluated / name) for name in ("thai", "both"))
    assert "standing" not in alone[0] and alone[-1]["standing"]["id"]["alarm"]
    assert alone[-1]["standing"].keys() == {"id"}
    assert not any(line["standing"]["id"]["alarm"] for line in both[1:])


def test_what_stands_in_the_files_adds_up_to_the_evaluation(project, evaluated) -> None:
    shards = TokenShards(project / "shards")
    for line in evaluations(evaluated / "thai"):
        kept = json.loads((evaluated / "thai" / FOLDER / f"step-{line['step']:08d}.json").read_text())
        for name, each in line["evaluation"].items():
            assert sum(tokens for _, tokens in kept[name]) == each["tokens"]
            assert sum(nats for nats, _ in kept[name]) == pytest.approx(each["loss"] * each["tokens"])
            assert len(kept[name]) == shards.counts(name)["documents"]


def test_a_run_that_goes_on_judges_as_it_would_have(project, evaluated, tmp_path) -> None:
    run = evaluated / "thai"
    watch = watch_of(project, tmp_path, "watch.languages=['id']")
    (tmp_path / FOLDER).mkdir()
    for path in (run / FOLDER).glob("*"):
        (tmp_path / FOLDER / path.name).write_bytes(path.read_bytes())
    (tmp_path / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    watch.start(6)  # the last evaluation was of step 8
    assert not (tmp_path / FOLDER / "step-00000008.json").exists()
    kept = json.loads((run / FOLDER / "step-00000008.json").read_text())
    found = watch.evaluated(8, {name: {DOCUMENTS: each} for name, each in kept.items()}, write=True)
    assert found["id"]._asdict() == evaluations(run)[-1]["standing"]["id"]
