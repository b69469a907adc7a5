"""Describes one piece of work, a function and the folder that it makes, and does it in whichever process it comes to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class RecipeTask(NamedTuple):
    """Names a function and what it is called with; the last argument is the folder that appears when all is written.

    function: of a module, so that pickle sends it by name. What it writes depends on nothing but its arguments and what is shared.
    """

    stage: str
    function: Callable[..., None]
    arguments: tuple

    @property
    def folder(self) -> Path:
        return self.arguments[-1]


class Shared(NamedTuple):
    """Makes what all tasks of a process use again, such as tables that take long to read: `make(settings)`, once a process.

    The tasks' functions get it as their first argument. make: a function or class of a module. settings: picklable, and equal
    where they say the same.
    """

    make: Callable[[Any], Any]
    settings: Any


_shared: dict[str, tuple[Shared, Any]] = {}  # the last one that was made in this process


def do(task: RecipeTask, shared: Shared | None) -> None:
    """Does a task, unless it is done. An error says which task it is of."""
    if task.folder.exists():
        return
    first = () if shared is None else (_made(shared),)
    try:
        task.function(*first, *task.arguments)
    except Exception as error:
        error.add_note(f"in the task {task.folder}")
        raise


def forget() -> None:
    """Drops what was made for tasks: the files that it was read from may be others in the next run of this process."""
    _shared.clear()


def _made(shared: Shared) -> Any:
    known = _shared.get("last")
    if known is None or known[0] != shared:
        forget()
        known = _shared["last"] = shared, shared.make(shared.settings)
    return known[1]
