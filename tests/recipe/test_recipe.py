"""The machine itself: what is done, what is done anew, what is said, for any number of workers."""

import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.recipe import (
    ExecutorSettings,
    RecipeStage,
    RecipeTask,
    Shared,
    StageRunner,
    TaskExecutor,
    runner,
    stage_folders,
)
from pinisi.recipe.cluster import ClusterJob, slurm_arguments
from pinisi.recipe.task import do
from tests.recipe.squares import Squares, run


def quiet(line: str) -> None:
    pass


def written(folder: Path) -> dict[str, bytes]:
    paths = (folder / "work").glob("*-*/**/*")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def test_any_number_of_workers_writes_the_same(tmp_path):
    found = []
    for workers in (1, 2, 3):
        (folder := tmp_path / str(workers)).mkdir()
        assert run(Squares(str(folder), count=11, times=2), workers, quiet) == 2 * sum(
            n * n for n in range(3, 14)
        )
        makers = (folder / "made").read_text().split()
        assert len(makers) == len(set(makers)) <= workers  # what is shared is made once a process
        found.append(written(folder))
    assert found[0] == found[1] == found[2] and len(found[0]) == 12


def test_only_what_depends_on_a_change_is_done_anew(tmp_path):
    settings, said = Squares(str(tmp_path)), []

    def anew(**changes) -> set[str]:
        """The stages that were not done before."""
        said.clear()
        run(replace(settings, **changes), report=said.append)
        return {line.split(":")[0] for line in said if " tasks in " in line and "done before" not in line}

    assert anew() == {"square", "add"} and "; 7 squares" in said[0]
    (tmp_path / "work" / "square-mine").mkdir()
    assert anew() == set() and "7 tasks in" in said[0] and ", 7 done before; 7 squares" in said[0]
    assert anew(times=5) == {"add"}
    assert said[0] == "add and what follows is done anew: the configuration or the input changed"
    assert anew(base=4, times=5) == {"square", "add"}
    assert said[0] == "square and what follows is done anew: the configuration or the input changed"
    assert sum("anew" in line for line in said) == 1
    assert anew(times=5) == {"square", "add"}  # another setting's folders are gone once it is done
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "work").glob("*-*"))
    assert names == ["add", "square", "square"] and (tmp_path / "work" / "square-mine").is_dir()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("data", DataError, "^number 4 is odd"),
        ("other", KeyError, "x"),
        ("unsendable", Exception, "trouble in a task"),
    ],
)
def test_a_task_that_fails_is_one_error_that_names_it_and_the_rest_is_kept(
    tmp_path, workers, how, kind, words
):
    settings = Squares(str(tmp_path))
    with pytest.raises(kind, match=words) as error:
        run(replace(settings, fails=(4, how)), workers, quiet)
    assert how != "data" or str(error.value) == "number 4 is odd"
    told = [str(error.value), *getattr(error.value, "__notes__", [])]
    assert any("square-" in line and line.rstrip().split("/")[-1].startswith("004") for line in told)
    done = [path.name for path in (tmp_path / "work").glob("square-*/[!.]*")]
    assert "004" not in done and (workers > 1 or sorted(done) == ["000", "001", "002", "003"])
    assert run(settings, report=quiet) == sum(n * n for n in range(3, 10))


def test_what_is_shared_is_made_anew_in_the_next_run_of_a_process(tmp_path):
    file, out = tmp_path / "file", tmp_path / "out"
    for n, text in enumerate(("old", "new")):
        file.write_text(text)
        with TaskExecutor(ExecutorSettings(workers=1), Shared(Path.read_text, file)) as executor:
            executor.run([RecipeTask("copy", copy, (out / f"{n}",))], tmp_path, lambda task: None)
        assert (out / f"{n}" / "text").read_text() == text


def copy(text: str, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "text").write_text(text)


def nothing(out: Path) -> None:
    pass


def test_a_task_that_makes_no_folder_has_failed(tmp_path):
    with TaskExecutor(ExecutorSettings(workers=1)) as executor, pytest.raises(DataError) as error:
        executor.run([RecipeTask("none", nothing, (tmp_path / "a",))], tmp_path / "logs", lambda task: None)
    assert (
        str(error.value)
        == f"1 of 1 tasks failed, the first is {tmp_path / 'a'}; see {tmp_path / 'logs'} and run again"
    )


def test_a_task_that_another_process_has_done_is_left_alone(tmp_path):
    def fails(out: Path) -> None:
        raise AssertionError

    do(RecipeTask("done", fails, (tmp_path,)), None)


class Clock:
    """An executor whose tasks take two seconds each, done from the last to the first, after those that have their folder."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(runner.time, "monotonic", lambda: self.now)

    def run(self, tasks, logs, done) -> None:
        for task in [task for task in tasks if task.folder.exists()]:
            done(task)
        for task in reversed([task for task in tasks if not task.folder.exists()]):
            self.now += 2
            done(task)


def test_progress_counts_what_is_new_and_tasks_are_counted_in_their_order(tmp_path, monkeypatch):
    tasks = [RecipeTask("made", nothing, (tmp_path / str(n),)) for n in range(13)]
    for task in tasks[:4]:
        task.folder.mkdir()
    said, counted = [], []
    stages = StageRunner(Clock(monkeypatch), tmp_path, said.append)  # type: ignore[arg-type]
    stages.run(tasks, lambda of: counted.extend(of) or "all")
    assert counted == tasks and stages.seconds == {"made": 18.0}
    assert said == [
        "made: 7 of 13 tasks, ETA 12 s",
        "made: 10 of 13 tasks, ETA 6 s",
        "made: 13 tasks in 18 s, 4 done before; all",
    ]
    stages.run([], lambda of: "never")
    assert len(said) == 3


@dataclass(frozen=True)
class Section:
    names: list
    limit: float = 0.5


def test_a_folders_name_changes_with_its_stage_and_those_before(tmp_path):
    draw = random.Random(3)
    for _ in range(50):
        count = draw.randrange(1, 6)
        depends = [
            [draw.random(), Section([draw.choice("ab")]), {"x": draw.randrange(9)}] for _ in range(count)
        ]
        at = draw.randrange(count)
        other = [list(values) for values in depends]
        other[at][1] = Section([*other[at][1].names, "new"])
        before, after = (
            list(
                stage_folders(
                    tmp_path, [RecipeStage(f"s{n}", values, (f"b{n}",)) for n, values in enumerate(of)]
                ).values()
            )
            for of in (depends, other)
        )
        same = [one == two for one, two in zip(before, after, strict=True)]
        assert same == [True] * (2 * at) + [False] * (2 * (count - at))
        digests = [folder.name.partition("-")[2] for folder in before]
        assert digests[::2] == digests[1::2] and len(set(digests)) == count
        assert [folder.name.partition("-")[0] for folder in before[::2]] == [f"s{n}" for n in range(count)]


def test_what_reads_differently_in_each_process_can_not_be_depended_on(tmp_path):
    for value in ({"a", "b"}, object(), [Section([lambda: 1])], {"k": ({1},)}):
        with pytest.raises(TypeError, match="the stage 'one' depends on a "):
            stage_folders(tmp_path, [RecipeStage("one", [1, value])])


def test_errors_name_the_settings_where_they_stand(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    given = {"partition": "p", "time": "1:00:00"}
    for slurm, words in (
        ({}, r"^a\.run\.executor = 'slurm' needs a\.run\.slurm = \{"),
        (given, r"^a\.run\..*login node"),
    ):
        with pytest.raises(ConfigError, match=words):
            slurm_arguments(ClusterJob(ExecutorSettings("slurm", slurm=slurm), None, "x", "a.run"))
    found = {fault.key for fault in ExecutorSettings(workers=0, budget="lots").validate()}
    assert found == {"workers", "budget"}


def test_datatrove_does_any_recipe(tmp_path):
    pytest.importorskip("datatrove")
    assert run(Squares(str(tmp_path)), 2, quiet, "local") == sum(n * n for n in range(3, 10))


def test_the_room_needs_no_other():
    code = "import pinisi.recipe, sys; print([m for m in sys.modules if m == 'numpy' or m.startswith('pinisi.')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" not in told and {name.split(".")[1] for name in eval(told)} == {"base", "recipe"}
