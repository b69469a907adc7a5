"""Runs work that is done in stages, by many processes, and goes on where it was stopped.

A recipe is a list of stages. A stage is a folder and a list of tasks; a task is a function and the folder that it makes. A task's
folder appears when all of it is written (`base.files.new_folder`), so what has a folder is done: that is all there is to resuming,
and why any number of processes on any machine can go on where others stopped. A stage's folder is named by a digest of all that
its result depends on, so a changed setting makes anew what follows from it, and nothing else.

    chain = [RecipeStage("read", [1, files]), RecipeStage("join", [config.join])]
    with only_one(out, out / "work" / "lock", "run.folder"), TaskExecutor(settings, shared=Shared(load_tools, config)) as executor:
        folders = stage_folders(out / "work", chain)
        begin(folders, print)
        runner = StageRunner(executor, out / "work" / "logs", print)
        runner.run([RecipeTask("read", read_one, (file, folders["read"] / file.name)) for file in files])
        runner.run([RecipeTask("join", join_all, (folders["read"], folders["join"] / "all"))])
        remove_others(folders)

Reading order: task (what is done), stage (which folder it is in), executor and cluster (where it runs), runner (one stage after
the other, with progress).
"""

from pinisi.recipe.executor import TaskExecutor
from pinisi.recipe.runner import StageRunner
from pinisi.recipe.settings import ExecutorSettings
from pinisi.recipe.stage import RecipeStage, begin, remove_others, stage_folders
from pinisi.recipe.task import RecipeTask, Shared

__all__ = [
    "ExecutorSettings",
    "RecipeStage",
    "RecipeTask",
    "Shared",
    "StageRunner",
    "TaskExecutor",
    "begin",
    "remove_others",
    "stage_folders",
]
