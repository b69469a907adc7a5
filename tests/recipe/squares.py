"""A recipe of two stages for tests: squares of numbers, a task for each, then their sum. While a file `hold` lies in its folder,
tasks stop half-way, so that a test can strike them there."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.lock import only_one
from pinisi.recipe import (
    ExecutorSettings,
    RecipeStage,
    RecipeTask,
    Shared,
    StageRunner,
    TaskExecutor,
    begin,
    remove_others,
    stage_folders,
)

SQUARE, ADD = "square", "add"


@dataclass(frozen=True)
class Squares:
    """folder: for the result and the work. fails: how the task of this number fails, and what it does."""

    folder: str
    count: int = 7
    base: int = 3
    times: int = 1
    fails: tuple[int, str] = (-1, "")


class Unsendable(Exception):
    """Can be pickled, and not be made from that."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


def table(settings: Squares) -> list[int]:
    """What all tasks share: the numbers. Notes which process made it."""
    with (Path(settings.folder) / "made").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return [settings.base + n for n in range(settings.count)]


def square(numbers: list[int], settings: Squares, number: int, out: Path) -> None:
    with new_folder(out) as folder:
        (folder / "value").write_text(str(numbers[number] ** 2))
        while (Path(settings.folder) / "hold").exists():
            time.sleep(0.02)
        if settings.fails[0] == number:
            raise {
                "data": DataError(f"number {number} is odd"),
                "other": KeyError("x"),
                "unsendable": Unsendable("trouble", "a task"),
            }[settings.fails[1]]


def add(numbers: list[int], times: int, squares: list[Path], out: Path) -> None:
    with new_folder(out) as folder:
        total = times * sum(int((path / "value").read_text()) for path in squares)
        (folder / "value").write_text(str(total))


def run(
    settings: Squares, workers: int = 1, report: Callable[[str], None] = print, executor: str = "processes"
) -> int:
    """Returns times x the sum of the squares."""
    out = Path(settings.folder)
    work = out / "work"
    running = TaskExecutor(
        ExecutorSettings(executor, workers),  # type: ignore[arg-type]
        Shared(table, settings),
        name="squares",
        section="squares",
    )
    with only_one(out, work / "lock", "squares.folder"), running:
        chain = [
            RecipeStage(SQUARE, [settings.base, settings.count]),
            RecipeStage(ADD, [settings.times]),
        ]
        folders = stage_folders(work, chain)
        begin(folders, report)
        runner = StageRunner(running, work / "logs", report)
        squares = [
            RecipeTask(SQUARE, square, (settings, number, folders[SQUARE] / f"{number:03d}"))
            for number in range(settings.count)
        ]
        runner.run(squares, lambda tasks: f"{len(tasks)} squares")
        total = RecipeTask(ADD, add, (settings.times, [t.folder for t in squares], folders[ADD] / "all"))
        runner.run([total])
        remove_others(folders)
    return int((total.folder / "value").read_text())
