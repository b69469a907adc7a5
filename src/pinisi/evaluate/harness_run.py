"""Runs lm-evaluation-harness's tasks on a model of ours, and gives what it found as JSON with its own table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pinisi.base.errors import ConfigError
from pinisi.base.libraries import library
from pinisi.evaluate.model_source import MeasuredModel

KEPT = ("results", "groups", "versions", "n-shot", "n-samples", "higher_is_better")  # of the harness's result


class HarnessTasks(NamedTuple):
    """Says which of the harness's tasks are asked, and how.

    names: of tasks, groups or tags, or whole configurations as `sea_helm` makes them. path: a folder of further tasks' YAML. shots:
    None: the task's own number.
    """

    names: Sequence[str | Mapping[str, Any]]
    path: str | None = None
    shots: int | None = None
    limit: int | None = None
    chat: bool = False


class HarnessResult(NamedTuple):
    """Holds what the harness found: its JSON, its table, and what it says of each sample, by task."""

    result: dict[str, Any]
    table: str
    samples: dict[str, list[dict[str, Any]]]


def run_tasks(model: MeasuredModel, tasks: HarnessTasks, **how: Any) -> HarnessResult:
    """Asks the tasks. how: of `HarnessModel`. Raises ConfigError for a task that isn't there, DataError without the harness."""
    harness = library("lm_eval", "harness")
    manager = _manager(tasks)
    from pinisi.evaluate.harness_model import HarnessModel

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    asked = HarnessModel(model, **how)
    with asked.asked:
        found = harness.simple_evaluate(
            asked,
            tasks=[name if isinstance(name, str) else dict(name) for name in tasks.names],
            task_manager=manager,
            num_fewshot=tasks.shots,
            limit=tasks.limit,
            apply_chat_template=tasks.chat,
            bootstrap_iters=1000,
        )
    kept = {name: found[name] for name in KEPT if found.get(name)}
    how_asked = {"shots": tasks.shots, "limit": tasks.limit, "chat": tasks.chat, "cut_on_the_left": asked.cut}
    result = {"lm_eval": harness.__version__, "settings": how_asked, **kept}
    table = library("lm_eval.utils", "harness").make_table(found)
    return HarnessResult(result, table, found.get("samples", {}))


def _manager(tasks: HarnessTasks) -> Any:
    """Knows the tasks of the folder alone where that is enough: the harness's own, some 15,000, take half a minute to be listed."""
    make = library("lm_eval.tasks", "harness").TaskManager
    names = [name for name in tasks.names if isinstance(name, str)]
    own = make(include_path=tasks.path, include_defaults=False) if tasks.path or not names else None
    if own is not None and not _missing(names, own):
        return own
    manager = make(include_path=tasks.path)
    if missing := _missing(names, manager):
        raise ConfigError(
            f"lm-evaluation-harness has no task {missing[0]!r}: `lm-eval ls tasks` lists them, --harness-path names further ones"
        )
    return manager


def _missing(names: Iterable[str], manager: Any) -> list[str]:
    return [name for name in names if not manager.match_tasks([name])]
