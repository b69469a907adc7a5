"""The best checkpoint and early stopping: against what the evaluations in the metrics say, and killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError
from pinisi.config import load
from pinisi.launch.check import check
from pinisi.train.best import BestLoss, best_step, mean_loss
from tests.effort import only_full
from tests.engine.runs import pinisi

# A learning rate at which the loss falls and rises, with an evaluation each step.
MORE = (
    *("evaluation.every=1", "pipeline.ranks=1", "checkpoint.keep=1"),
    *("optimizer.learning_rate=0.05", "optimizer.schedule=constant"),
)
STEPS = "run.steps=9"


def train(project: Path, run: Path, *more: str) -> None:
    done = pinisi("train", str(project / "config.toml"), *MORE, f"run.folder={run}", *more)
    assert done.returncode == 0, done.stderr


def evaluations(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], mean_loss(r["evaluation"])) for r in records if "evaluation" in r]


def kept(run: Path) -> set[int]:
    return {int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir()}


def best_of(found: list[tuple[int, float]]) -> int:
    return min(found, key=lambda each: each[1])[0]


def ends_at(found: list[tuple[int, float]], patience: int) -> int:
    """By hand: the first step whose last `patience` evaluations are all no better than one before."""
    for at in range(len(found)):
        before, behind = found[: at + 1 - patience], found[at + 1 - patience : at + 1]
        if len(behind) == patience and before and min(x for _, x in behind) >= min(x for _, x in before):
            return found[at][0]
    return found[-1][0]


@pytest.fixture(scope="module")
def plain(project, tmp_path_factory) -> list[tuple[int, float]]:
    """The evaluations of a run to its end."""
    run = tmp_path_factory.mktemp("best") / "plain"
    train(project, run, STEPS)
    assert kept(run) == {9}
    found = evaluations(run)
    assert 0 < best_of(found[:9]) < 8, found  # else this shows nothing
    return found


@only_full
def test_the_best_is_kept_beside_the_last(project, plain, tmp_path) -> None:
    whole, best = tmp_path / "whole", best_of(plain[:9])
    train(project, whole, "run.steps=8", "checkpoint.best=true", "checkpoint.every=0")
    assert kept(whole) == {best, 8} and evaluations(whole) == plain[:9] and best_step(whole) == best


@pytest.mark.parametrize("patience", [pytest.param(1, marks=only_full), 2])
def test_patience_follows_the_evaluations_and_resumes(project, plain, tmp_path, capfd, patience) -> None:
    early = tmp_path / "early"
    capfd.readouterr()
    train(project, early, STEPS, f"evaluation.patience={patience}", "checkpoint.best=true")
    end = ends_at(plain, patience)
    best = best_of(plain[: end + 1])
    assert end < 9 and best < end and evaluations(early) == plain[: end + 1] and kept(early) == {best, end}
    assert f"ended early: {patience} evaluations" in capfd.readouterr().out

    # as if killed after a save, and before what follows; then the same command again
    torn = tmp_path / "torn"
    train(project, torn, f"run.steps={best}", "checkpoint.best=true")
    lines = (torn / "metrics.jsonl").read_text().splitlines()
    (torn / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # without its evaluation
    train(project, torn, STEPS, f"evaluation.patience={patience}", "checkpoint.best=true")
    assert evaluations(torn) == plain[: end + 1]
    assert kept(torn) == {best, end}
    train(project, early, STEPS, f"evaluation.patience={patience}", "checkpoint.best=true")
    assert kept(early) == {best, end}  # over stays over


@only_full
def test_an_evaluation_that_a_kill_took_is_made_when_the_run_goes_on(project, tmp_path) -> None:
    through, torn = tmp_path / "plain", tmp_path / "torn"
    train(project, through, "run.steps=4")
    train(project, torn, "run.steps=2")
    lines = (torn / "metrics.jsonl").read_text().splitlines()
    assert '"evaluation"' in lines[-1]
    (torn / "metrics.jsonl").write_text(
        "\n".join(lines[:-1]) + "\n"
    )  # as if killed between saving and evaluating
    train(project, torn, "run.steps=4")
    assert evaluations(torn) == evaluations(through) and len(evaluations(through)) == 5
    assert kept(torn) == {4}


def test_without_held_out_data_there_is_no_best(project) -> None:
    for override in ("checkpoint.best=true", "evaluation.patience=2"):
        config = load(project / "config.toml", [*MORE, override, "data.evaluation=none"])
        with pytest.raises(ConfigError, match="go by held-out loss"):
            check(config)
    with pytest.raises(ConfigError, match=r"evaluation\.patience"):
        load(project / "config.toml", ["evaluation.patience=2"])


def test_a_loss_that_is_no_number_is_no_better(project) -> None:
    best = BestLoss(load(project / "config.toml", [*MORE, "checkpoint.best=true", "evaluation.patience=2"]))
    said = [
        best.add(n, {"id": {"loss": x}}) for n, x in enumerate([float("nan"), 2.0, 2.0, 1.0, float("nan")])
    ]
    assert said == [False, True, False, True, False] and (best.step, best.waited) == (3, 1)
    assert not best.add(4, {"id": {"loss": 0.0}})  # seen before
