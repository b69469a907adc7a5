"""Tasks asked within a run: the same losses with and without them, the scores of `pinisi evaluate`, and none lost by a kill."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.config import load
from pinisi.evaluate.likelihood import score_here
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.run import EvaluationSettings, Evaluator
from pinisi.evaluate.run_probe import TaskProbe, probes_of
from pinisi.evaluate.tasks import read_tasks
from pinisi.launch.check import check
from pinisi.train.trainer import Trainer
from tests.distributed.pool import free_port
from tests.effort import FULL, only_full
from tests.engine.runs import pinisi
from tests.evaluate.conftest import write_lines

MORE = (
    *("pipeline.ranks=1", "evaluation.every=1", "run.steps=3", "checkpoint.every=1"),
    *("evaluation.microbatches=1", "optimizer.schedule=constant"),
)


@pytest.fixture(scope="session")
def tasks(xcopa, tmp_path_factory) -> Path:
    """Two tasks in a file that names its own neighbours."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "xcopa.th.jsonl").write_text(xcopa.read_text())
    written = [
        f'[[tasks]]\nformat = "xcopa"\nlanguage = "th"\nfile = "xcopa.th.jsonl"\nname = "{n}"\n' for n in "ab"
    ]
    (folder / "tasks.toml").write_text(written[0] + written[1] + "limit = 3\n")
    return folder / "tasks.toml"


@pytest.fixture
def train(project, monkeypatch):
    """train(folder, *overrides): a run of one rank in this process, with its probes."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    def run(folder: Path, *overrides: str, make=probes_of, whole: bool = True) -> list[dict]:
        monkeypatch.setenv("MASTER_PORT", str(free_port()))
        config = load(project / "config.toml", [*MORE, f"run.folder={folder}", *overrides])
        check(config)
        assert Trainer(config, probes=make(config)).run().whole is whole
        return records(folder)

    return run


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(found: list[dict]) -> list[tuple]:
    return [(r["step"], r["loss"], r["gradient_norm"]) for r in found if "loss" in r]


def scores(found: list[dict]) -> dict[int, dict]:
    assert len([r for r in found if "tasks" in r]) == len({r["step"] for r in found if "tasks" in r})
    return {r["step"]: r["tasks"] for r in found if "tasks" in r}


def forget_tasks(folder: Path, found: list[dict]) -> None:
    """As if the run had been killed before the last line, which is one of tasks."""
    assert "tasks" in found[-1]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in found[:-1]))


def evaluated(run: Path, step: int, tasks: Path) -> dict[str, float]:
    model = open_model(run, step=step)
    found = Evaluator(model, EvaluationSettings(read_tasks(tasks))).evaluate(
        lambda items: score_here(model, items)
    )
    return {
        f"{task['name']} {name}": score["value"]
        for task in found.result["tasks"]
        for name, score in task["scores"].items()
    }


def flat(step: dict) -> dict[str, float]:
    return {f"{task} {name}": score[0] for task, of in step.items() for name, score in of["scores"].items()}


def test_a_run_is_the_same_with_tasks_whose_scores_are_those_of_its_checkpoints(
    train, tasks, tmp_path
) -> None:
    asked = f"evaluation.tasks={tasks}"
    plain, probed = train(tmp_path / "plain"), train(tmp_path / "probed", asked)
    assert losses(probed) == losses(plain) and len(losses(plain)) == 3
    kept = [(r["step"], r["evaluation"]) for r in plain if "evaluation" in r]
    assert [(r["step"], r["evaluation"]) for r in probed if "evaluation" in r] == kept
    found = scores(probed)
    assert list(found) == [0, 1, 2, 3] and not scores(plain)
    assert [found[3][name]["items"] for name in "ab"] == [5, 3] and found[3]["a"]["chance"] == 0.5
    assert flat(found[3]) == evaluated(tmp_path / "probed", 3, tasks)

    # killed behind a save and before its tasks, in the middle and at the end; then the same command again
    whole = train(tmp_path / "torn", asked, "run.steps=2")
    forget_tasks(tmp_path / "torn", whole)
    assert scores(train(tmp_path / "torn", asked)) == found
    forget_tasks(tmp_path / "probed", probed)
    again = train(tmp_path / "probed", asked)
    assert scores(again) == found and losses(again) == losses(plain)

    # more seldom than held-out text, and without any
    seldom = train(tmp_path / "seldom", asked, "evaluation.tasks_every=2", "data.evaluation=none")
    assert list(scores(seldom)) == [0, 2, 3] and scores(seldom)[2] == found[2]
    assert losses(seldom) == losses(plain)


class Interrupted(TaskProbe):
    """Is told to stop when it is about to ask."""

    def __call__(self, trainer: Trainer) -> None:
        if trainer.step == 1:
            trainer.stop_signal = signal.SIGTERM
        super().__call__(trainer)


def test_a_run_that_is_told_to_stop_leaves_its_tasks_and_goes_on_later(train, tasks, tmp_path) -> None:
    asked = (f"evaluation.tasks={tasks}", "data.evaluation=none")
    stopped = train(tmp_path / "run", *asked, make=lambda config: (Interrupted(config),), whole=False)
    assert list(scores(stopped)) == [0] and [step for step, *_ in losses(stopped)] == [1, 2]
    assert list(scores(train(tmp_path / "run", *asked))) == [0, 2, 3]


@pytest.mark.parametrize(
    ("ranks", "replicas"), [(1, 2), *(pytest.param(2, n, marks=only_full) for n in (1, 2))]
)
def test_pipelines_share_the_items(project, tasks, tmp_path, ranks, replicas) -> None:
    def trained(name: str, *more: str) -> Path:
        many = (
            f"pipeline.ranks={ranks}",
            f"pipeline.data_parallel={replicas}",
            "run.steps=1",
            "evaluation.microbatches=1",
        )
        done = pinisi("train", str(project / "config.toml"), f"run.folder={tmp_path / name}", *many, *more)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    run = trained("probed", f"evaluation.tasks={tasks}")
    found = scores(records(run))
    assert list(found) == [0, 1] and flat(found[1]) == evaluated(run, 1, tasks)
    assert 'id="tasks"' in (run / "report.html").read_text()
    if FULL:
        assert losses(records(run)) == losses(records(trained("plain")))


def test_tasks_that_a_run_cannot_ask_are_named_before_it_starts(project, tasks, tmp_path) -> None:
    def made(*overrides: str) -> None:
        probes_of(load(project / "config.toml", [*MORE, *overrides]))

    made()
    open_ended = write_lines(tmp_path / "open.toml", [])
    open_ended.write_text('[[tasks]]\nformat = "flores"\nlanguage = "th"\nsource = "en"\nfile = "x.json"\n')
    with pytest.raises(ConfigError, match="answers to be written"):
        made(f"evaluation.tasks={open_ended}")
    with pytest.raises(ConfigError, match="extra heads"):
        made(f"evaluation.tasks={tasks}", "loss.extra_heads=1")
    with pytest.raises(ConfigError, match="tokenizer"):
        made(f"evaluation.tasks={tasks}", "model.tokenizer=none")
    with pytest.raises(ConfigError, match=r"evaluation\.tasks_every"):
        made(f"evaluation.tasks={tasks}", "evaluation.every=2", "evaluation.tasks_every=3")
    missing = tmp_path / "missing.toml"
    missing.write_text('[[tasks]]\nformat = "xcopa"\nlanguage = "th"\nfile = "gone.jsonl"\n')
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        made(f"evaluation.tasks={missing}")
    done = pinisi(
        "train", str(project / "config.toml"), f"run.folder={tmp_path / 'r'}", f"evaluation.tasks={missing}"
    )
    assert done.returncode == 2 and "gone.jsonl" in done.stderr and not (tmp_path / "r").exists()


def test_few_shot_items_are_asked_in_every_watched_language(train, tmp_path) -> None:
    found = train(tmp_path / "run", "watch.few_shot=3", "watch.languages=['th', 'en']", "run.steps=2")
    asked = [record for record in found if "tasks" in record]
    assert [record["step"] for record in asked] == [0, 1, 2]
    for record in asked:
        assert sorted(record["tasks"]) == ["copy-en", "copy-th", "pattern-en", "pattern-th"]
        assert all(each["items"] == 3 and each["chance"] == 0.25 for each in record["tasks"].values())
    assert "standing" not in asked[0] and asked[1]["standing"].keys() == asked[1]["tasks"].keys()
    shares = [record["tasks"]["copy-en"]["scores"]["accuracy"][0] for record in asked]
    assert asked[1]["standing"]["copy-en"]["worse"] == pytest.approx(shares[0] - shares[1])
    assert asked[2]["standing"]["copy-en"]["worse"] == pytest.approx(max(shares[:2]) - shares[2])


def test_few_shot_items_need_languages(project) -> None:
    config = load(project / "config.toml", ["watch.few_shot=3", "data.evaluation=none"])
    with pytest.raises(ConfigError, match=r"watch\.few_shot asks in the languages of data\.evaluation"):
        probes_of(config)
