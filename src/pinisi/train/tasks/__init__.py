"""Finds the tasks that a run may have, by the name that `[task]` gives. A new task is a class in a file here and a row below."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.config import RunConfig
from pinisi.train.task import Task
from pinisi.train.tasks.distill import Distill
from pinisi.train.tasks.dpo import Dpo
from pinisi.train.tasks.prefer import Prefer
from pinisi.train.tasks.pretrain import Pretrain
from pinisi.train.tasks.sft import Sft

TASKS: dict[str, type[Task]] = {task.name: task for task in (Pretrain, Distill, Dpo, Sft, Prefer)}


def task_of(config: RunConfig, reference: str | None = None) -> Task:
    """Makes the task that [task] names, or that a `reference` points to. Raises ConfigError."""
    if reference is not None:
        return find_task(reference)(config)
    name = config.task["name"]
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.0)[0]
        raise ConfigError(f"task.name is {name!r}; there are {', '.join(TASKS)}; the nearest is {near!r}")
    return TASKS[name](config)


def reference_to(task: type[Task]) -> str:
    """Returns a text by which another process finds a class: its file, or its module, and its name. Raises ConfigError for a class
    that no file defines at its top."""
    module = sys.modules.get(task.__module__)
    file = getattr(module, "__file__", None)
    if "." in task.__qualname__ or file is None:
        raise ConfigError(
            f"the ranks of a run can't find {task.__qualname__}: define it at the top of a file, not in a function or a notebook"
        )
    where = str(Path(file).resolve()) if task.__module__ == "__main__" else task.__module__
    return f"{where}:{task.__qualname__}"


def find_task(reference: str) -> type[Task]:
    """Finds the class that `reference_to` names: "package.module:Class" or "path/to/file.py:Class". Raises ConfigError."""
    where, _, name = reference.rpartition(":")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        found = getattr(module, name)
    except (ImportError, OSError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"the task {reference!r} can't be loaded ({error}): give file.py:Class or package.module:Class"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ConfigError(f"{reference!r} is no task: it must be a class that inherits from pinisi.Task")
    return found


def _from_file(path: Path):
    name = f"pinisi_task_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
