"""Blocks of TOML load as configurations, blocks of Python compile, import and, where they are an example, are that file."""

from __future__ import annotations

import tomllib

import pytest

from pinisi.base.errors import ConfigError
from pinisi.base.typed_toml import SettingsSource, from_table
from pinisi.config import RunConfig, configure
from pinisi.curate.config import CurateConfig
from pinisi.evaluate.tasks import TaskFile
from pinisi.train.tasks import task_of
from tests.docs.pages import PAGES, ROOT, Fence, fences

FENCES = [fence for page in PAGES for fence in fences(page)]
TOML = [fence for fence in FENCES if fence.language == "toml"]
PYTHON = [fence for fence in FENCES if fence.language == "python"]
EXAMPLES = {path.name: path.read_text() for path in (ROOT / "examples").glob("*.py")}
REST = {
    "run": {"folder": "runs/x", "steps": 1},
    "model": {"source": "m"},
    "data": {"sequence": 8},
    "pipeline": {"ranks": 2, "microbatches": 2},
    "optimizer": {"learning_rate": 1e-3, "warmup": 0},
}


def load(text: str):
    """A block that has not all of a run's sections is a part of one."""
    table = tomllib.loads(text)
    if "sources" in table:
        return from_table(table, CurateConfig, SettingsSource("the block", root=CurateConfig))
    if "tasks" in table:
        return from_table(table, TaskFile, SettingsSource("the block", root=TaskFile))
    config = from_table(REST | table, RunConfig, SettingsSource("the block", root=RunConfig))
    return task_of(config).config


@pytest.mark.parametrize("fence", TOML, ids=str)
def test_a_block_of_toml_is_a_configuration(fence: Fence) -> None:
    load(fence.text)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_an_example_of_toml_is_a_configuration(path) -> None:
    load(path.read_text())


def test_a_wrong_block_is_noticed() -> None:
    for wrong in (
        "[run]\nfolders = 'x'\n",
        "[task]\nname = 'dpo'\n",
        "[[tasks]]\nformat = 'xcopa'\n",
        "[[sources]]\npath = 'x'\n[run]\nfolder = 3\n",
    ):
        with pytest.raises(ConfigError):
            load(wrong)


@pytest.mark.parametrize("fence", PYTHON, ids=str)
def test_a_block_of_python_runs_up_to_its_main(fence: Fence) -> None:
    names: dict = {"__name__": "a_block"}
    exec(compile(fence.text, str(fence), "exec"), names)
    if "config" in names:
        assert isinstance(names["config"], RunConfig)


def test_the_page_on_python_shows_the_examples() -> None:
    shown = [fence.text for fence in PYTHON if fence.page.name == "python.md"]
    assert sorted(shown) == sorted(EXAMPLES.values())


def test_the_readme_says_the_same_in_toml_and_in_python() -> None:
    toml, python = (next(f for f in found if f.page.name == "README.md") for found in (TOML, PYTHON))
    names: dict = {"__name__": "a_block"}
    exec(python.text, names)
    table = tomllib.loads(toml.text)
    table["data"].pop("evaluation")
    assert names["config"] == configure(**table)
    assert len(toml.text.splitlines()) <= 17 and len(python.text.splitlines()) <= 18
