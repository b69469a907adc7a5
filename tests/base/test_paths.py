"""Relative paths of a configuration: those of a file from its folder, those of overrides from the working folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinisi.base.settings import absolute, dump
from pinisi.base.settings import load as load_settings
from pinisi.config import configure, load
from pinisi.curate.config import CurateConfig
from pinisi.train.tasks import task_of

RUN = """
[run]
folder = "out"
steps = 1
start = "../other/checkpoints/step-1"
[model]
{model}
tokenizer = "./tok"
[data]
{data}
evaluation = "/abs/held-out"
sequence = 8
[pipeline]
ranks = 1
microbatches = 1
table = "t/passes.schedule"
[optimizer]
learning_rate = 1
[runtime]
emulate = "~/costs.json"
"""
CONFIG = 'config = {model_type = "qwen2"}'


@pytest.fixture
def places(tmp_path: Path, monkeypatch) -> tuple[Path, Path]:
    """A folder for files, and another one to work in."""
    project, here = tmp_path / "project", tmp_path / "here"
    project.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    return project, here


def write(folder: Path, *, model: str = CONFIG, data: str = 'shards = "shards"', more: str = "") -> Path:
    file = folder / "run.toml"
    file.write_text(RUN.format(model=model, data=data) + more)
    return file


def test_paths_of_a_file_are_meant_from_its_folder(places, monkeypatch) -> None:
    project, here = places
    monkeypatch.setenv("HOME", "/home/me")
    write(project)
    for name in (project / "run.toml", Path(os.path.relpath(project / "run.toml", here))):
        got = load(name)
        assert os.path.realpath(got.run.folder) == str(project / "out")
        assert os.path.realpath(got.run.start or "") == str(project.parent / "other/checkpoints/step-1")
        assert os.path.realpath(got.model.tokenizer or "") == str(project / "tok")
        assert os.path.realpath(got.data.shards or "") == str(project / "shards")
        assert (got.data.evaluation, got.runtime.emulate) == ("/abs/held-out", "/home/me/costs.json")
        assert os.path.realpath(got.pipeline.table or "") == str(project / "t/passes.schedule")
        assert all(os.path.isabs(path or "") for path in (got.run.folder, got.run.start, got.pipeline.table))


def test_paths_of_overrides_are_meant_from_the_working_folder(places) -> None:
    project, here = places
    got = load(
        write(project),
        [
            "run.folder=a",
            "data.shards='b c'",
            "model.tokenizer=7",
            "pipeline.table=none",
            "data.evaluation=/e",
        ],
    )
    assert (got.run.folder, got.data.shards) == (str(here / "a"), str(here / "b c"))
    assert (got.model.tokenizer, got.pipeline.table, got.data.evaluation) == (str(here / "7"), None, "/e")
    whole = load(write(project), ['data={shards = "x", sequence = 4}'])
    assert whole.data.shards == str(here / "x")


def test_components_are_meant_from_the_file(places) -> None:
    project, _ = places
    given = 'components = [{name = "a", shards = "s/a"}, {name = "b", shards = "/s/b"}]'
    got = load(write(project, data=given))
    assert [each.shards for each in got.data.components] == [str(project / "s/a"), "/s/b"]


def test_a_name_on_the_hub_stays_unless_a_folder_is_there(places) -> None:
    project, here = places
    file = write(project, model='source = "Qwen/Qwen3-0.6B"')
    (here / "Qwen/Qwen3-0.6B").mkdir(parents=True)  # of the working folder, which the file doesn't mean
    assert load(file).model.source == "Qwen/Qwen3-0.6B"
    assert load(file, ["model.source=Qwen/Qwen3-0.6B"]).model.source == str(here / "Qwen/Qwen3-0.6B")
    assert load(file, ["model.source=gpt2"]).model.source == "gpt2"
    (project / "Qwen/Qwen3-0.6B").mkdir(parents=True)
    assert load(file).model.source == str(project / "Qwen/Qwen3-0.6B")
    for given in ("./gone", "../gone", "a/b/c"):
        assert load(write(project, model=f'source = "{given}"')).model.source == str(Path(project, given))


def test_paths_of_a_task_are_known_when_the_task_is(places) -> None:
    project, here = places
    task = (
        '[task]\nname = "dpo"\npairs = "pairs.jsonl"\nheld_out = "/h"\nbeta = 0.2\nreference = "some/model"\n'
    )
    config = load(write(project, more=task), ["task.held_out=other.jsonl"])
    made = task_of(config)
    assert made.settings.pairs == str(project / "pairs.jsonl")
    assert (made.settings.held_out, made.settings.reference) == (str(here / "other.jsonl"), "some/model")
    assert type(made.settings.pairs) is str and made.config.task["pairs"] == made.settings.pairs


def test_what_ranks_are_handed_means_the_same_anywhere(places, tmp_path: Path, monkeypatch) -> None:
    project, _ = places
    task = '[task]\nname = "distill"\nteacher = "./teacher"\n'
    config = task_of(absolute(load(write(project, more=task)))).config
    there = tmp_path / "run"
    there.mkdir()
    (there / "launched.toml").write_text(dump(config))
    monkeypatch.chdir("/")
    again = load(there / "launched.toml")
    assert again == config
    assert task_of(again).settings.teacher == str(project / "teacher")


def test_a_configuration_of_python_is_meant_from_the_working_folder(places) -> None:
    _, here = places
    made = configure(
        run={"folder": "out", "steps": 1},
        model={"config": {"model_type": "qwen2"}},
        data={"shards": Path("shards"), "sequence": 8},
        pipeline={"ranks": 1, "microbatches": 1},
        optimizer={"learning_rate": 1.0},
    )
    assert (made.run.folder, made.data.shards) == (str(here / "out"), str(here / "shards"))


def test_paths_of_a_curation(places) -> None:
    project, here = places
    file = project / "curate.toml"
    file.write_text(
        'packs = ["packs/jv"]\n[run]\nfolder = "out"\noutput = "s3://bucket/x"\n[[sources]]\npath = "raw/*.jsonl"\n'
        '[[sources]]\npath = "https://example.org/a.gz"\n[[sources]]\npath = "org/name"\nformat = "dataset"\n'
        '[rules.flagged]\nid = "words.txt"\n[quality.positives]\nid = "good"\nvi = "s3://b/good"\n'
    )
    got = load_settings(file, ["run.output=there", "rules.flagged.id=w.txt"], into=CurateConfig)
    assert (got.run.folder, got.run.output) == (str(project / "out"), str(here / "there"))
    paths = [source.path for source in got.sources]
    assert paths == [str(project / "raw/*.jsonl"), "https://example.org/a.gz", "org/name"]
    assert got.packs == [str(project / "packs/jv")] and got.rules.flagged == {"id": str(here / "w.txt")}
    assert got.quality.positives == {"id": str(project / "good"), "vi": "s3://b/good"}
    assert load_settings(file, into=CurateConfig).run.output == "s3://bucket/x"


def test_a_pipe_has_no_folder(places) -> None:
    project, here = places
    text = write(project).read_text()
    pipe = project / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        pipe.write_text(text)
        os._exit(0)
    assert load(pipe).run.folder == str(here / "out")
