"""The direction of imports between folders, as docs/architecture.md states it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pinisi

ROOT = Path(pinisi.__file__).parent
# From what uses nothing to what uses all: a room imports only from rooms before it.
ORDER = [
    "base",
    "recipe",
    "schedule",
    "losses",
    "vocabulary",
    "models",
    "data",
    "costs",
    "report",
    "config",
    "plan",
    "parallel",
    "engine",
    "train",
    "launch",
    "evaluate",
    "curate",
    "cookbook",
    "bench",
    "cli",
]
EVERYONE = {"base"}
# What each folder may import of pinisi besides itself and those; one that isn't named may import all before it.
ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "recipe": set(),
    "schedule": set(),
    "losses": set(),
    "vocabulary": {"losses"},
    "models": set(),
    "data": {"recipe"},
    "costs": {"models", "schedule"},
    "report": {"schedule"},
    "plan": {"config", "costs", "models", "report", "schedule"},
    "parallel": {"schedule"},
    "engine": {"costs", "data", "losses", "models", "parallel", "schedule", "vocabulary"},
    "curate": {"data", "recipe", "report"},
}
# Packages outside the standard library that a folder may import; folders that aren't named may import any.
OUTSIDE: dict[str, set[str]] = {
    "base": {"tqdm"},
    "recipe": set(),
    "schedule": {"numpy"},
    "report": {"jinja2", "markupsafe"},
    "losses": {"torch"},
    "vocabulary": {"torch", "triton"},
    "models": {"torch", "transformers", "safetensors", "huggingface_hub"},
}


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, also inside functions and under TYPE_CHECKING."""
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name == "pinisi":  # from pinisi import engine
                yield from ((node.lineno, f"pinisi.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, name


def before(folder: str) -> set[str]:
    """The rooms that stand before a room."""
    return set(ORDER[: ORDER.index(folder)])


def faults(source: str, module: str) -> list[str]:
    """What a module (its dotted name, `__init__` included) imports against the rules."""
    folder = module.split(".")[1]
    found = []
    for line, name in imported(ast.parse(source), module):
        top, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if top == "pinisi":
            known = (part and (ROOT / part).is_dir()) or (ROOT / f"{part}.py").is_file()
            if known and part != folder and part not in EVERYONE | ALLOWED.get(folder, before(folder)):
                found.append(f"{module}:{line} imports {name}")
        elif folder in OUTSIDE and top not in OUTSIDE[folder] and top not in sys.stdlib_module_names:
            found.append(f"{module}:{line} imports {name}")
    return found


def modules(folder: str) -> dict[str, str]:
    """Dotted name -> source of a folder's modules."""
    paths = (ROOT / folder).rglob("*.py")
    return {
        ".".join(("pinisi", *path.relative_to(ROOT).with_suffix("").parts)): path.read_text()
        for path in paths
    }


def test_every_room_has_its_place_and_none_may_import_a_later_one() -> None:
    there = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} <= set(ORDER)
    assert not {room: later for room, may in ALLOWED.items() if (later := may - before(room))}


@pytest.mark.parametrize("folder", [room for room in ORDER if (ROOT / room).is_dir()])
def test_folder_imports_only_what_it_may(folder: str) -> None:
    found = [fault for module, source in modules(folder).items() for fault in faults(source, module)]
    assert not found, "\n".join(found)


def test_nothing_below_imports_the_command_line() -> None:
    for path in ROOT.rglob("*.py"):
        module = ".".join(("pinisi", *path.relative_to(ROOT).with_suffix("").parts))
        if module == "pinisi.__main__" or module.startswith("pinisi.cli."):
            continue
        names = [name for _, name in imported(ast.parse(path.read_text()), module)]
        assert not any(name == "pinisi.cli" or name.startswith("pinisi.cli.") for name in names), module


def test_curating_text_loads_nothing_of_training() -> None:
    code = "import pinisi.curate, pinisi.curate.run, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {".".join(name.split(".")[:2]) for name in told.split()}
    assert "pinisi.curate" in loaded
    assert not loaded & {"torch", "pinisi.schedule", "pinisi.models", "pinisi.engine"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pinisi.schedule.table", "import torch"),
        ("pinisi.report.page", "import numpy as np"),
        ("pinisi.schedule.table", "def f():\n    from torch import nn"),
        ("pinisi.schedule.table", "from pinisi.parallel.communicator import Communicator"),
        ("pinisi.schedule.table", "from ..vocabulary import Shards"),
        ("pinisi.vocabulary.head", "from pinisi import schedule"),
        ("pinisi.models.stage", "import pinisi.data"),
        ("pinisi.report.page", "import torch"),
        ("pinisi.report.page", "from pinisi.train import trainer"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pinisi.schedule.table", "from pinisi.base.errors import ScheduleError\nimport re"),
        ("pinisi.schedule.__init__", "from .table import Pass"),
        ("pinisi.report.page", "from pinisi.schedule import Timeline"),
        ("pinisi.engine.executor", "import torch\nfrom pinisi.vocabulary import Shards"),
    ],
)
def test_a_right_import_is_let_through(module: str, source: str) -> None:
    assert faults(source, module) == []


def test_a_rank_in_training_loads_no_planner_and_no_page() -> None:
    code = "import pinisi.cli, pinisi.launch.run, pinisi.launch.ranks, pinisi.train.trainer, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {".".join(name.split(".")[:2]) for name in told.split()}
    assert "pinisi.train" in loaded
    assert not loaded & {"pinisi.plan", "pinisi.report", "pinisi.curate", "pinisi.bench", "pinisi.evaluate"}


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = "import pinisi, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "transformers"} & set(told.split())
    for name in pinisi.__all__:
        assert getattr(pinisi, name)
