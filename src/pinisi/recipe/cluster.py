"""Runs tasks by datatrove's executors: on this machine, on a Slurm cluster or on a Ray one."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import ConfigError
from pinisi.base.libraries import library
from pinisi.base.settings import byte_count
from pinisi.recipe.settings import ExecutorSettings
from pinisi.recipe.task import RecipeTask, Shared, do

POLL = 5.0  # seconds between two looks at what a cluster has finished
VISIBLE = 60.0  # seconds until every machine sees what another has written to a shared folder
Done = Callable[[RecipeTask], None]


class ClusterJob(NamedTuple):
    """Holds what all tasks of a recipe have in common on a cluster. section: the settings' place in the TOML, for errors."""

    settings: ExecutorSettings
    shared: Shared | None
    name: str
    section: str


def run(job: ClusterJob, tasks: Sequence[RecipeTask], logs: Path, done: Done) -> None:
    """Does the tasks; datatrove tells of its own progress, but for Slurm, where `done` is told of each."""
    kind = job.settings.executor
    executors = library("datatrove.executor", "cluster")
    if kind == "ray":
        library("ray", "cluster")
    executor = getattr(executors, f"{kind.capitalize()}PipelineExecutor")(
        [_step(job, tasks)],
        tasks=len(tasks),
        workers=job.settings.workers,
        logging_dir=str(logs),
        skip_completed=False,
        **(slurm_arguments(job) if kind == "slurm" else {}),
    )
    executor.run()
    if kind == "slurm":  # which only submits an array of jobs
        _until_jobs_end(executor.job_id, tasks, done)


def _step(job: ClusterJob, tasks: Sequence[RecipeTask]) -> Any:
    """Makes a step of datatrove's of the tasks, whose rank r of n does tasks r, r + n, ..."""
    shared = job.shared

    class Tasks(library("datatrove.pipeline.base", "cluster").PipelineStep):  # type: ignore[misc]
        name = f"pinisi {job.name}"
        type = tasks[0].stage

        def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
            for task in tasks[rank::world_size]:
                with self.track_time():
                    do(task, shared)
            return data

    return Tasks()


def slurm_arguments(job: ClusterJob) -> dict[str, Any]:
    """Returns what datatrove's executor is given. Raises ConfigError where Slurm, its partition or its time is missing."""
    section, memory = (
        job.section,
        byte_count(job.settings.budget) // 2**30 + 2,
    )  # GiB, with code, tables and rounding
    given = {"job_name": f"pinisi-{job.name}", "mem_per_cpu_gb": memory, **job.settings.slurm}
    if not {"partition", "time"} <= given.keys():
        raise ConfigError(
            f"{section}.executor = 'slurm' needs {section}.slurm = {{partition = '...', time = '10:00:00', ...}}"
        )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            f"{section}.executor = 'slurm' needs Slurm's sbatch, which is not here: run it on a login node"
        )
    if not {"venv_path", "condaenv", "env_command"} & given.keys() and sys.prefix != sys.base_prefix:
        given["venv_path"] = f"{sys.prefix}/bin/activate"  # the one that runs this
    return given


def _until_jobs_end(job: str, tasks: Sequence[RecipeTask], done: Done) -> None:
    """Waits until all tasks are done, or Slurm has ended the job and what it wrote had time to become visible here."""
    waiting, ended = list(tasks), None
    try:
        while waiting and (ended is None or time.monotonic() < ended + VISIBLE):
            time.sleep(POLL)
            for task in [task for task in waiting if task.folder.exists()]:
                waiting.remove(task)
                done(task)
            if ended is None and _has_ended(job):
                ended = time.monotonic()
    except KeyboardInterrupt:
        subprocess.run(["scancel", job], capture_output=True)
        raise


def _has_ended(job: str) -> bool:
    """Returns whether Slurm's queue has the job no more; a queue that can't be asked just now tells nothing."""
    asked = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True)
    if asked.returncode:
        return "invalid job id" in asked.stderr.lower()
    return not asked.stdout.strip()
