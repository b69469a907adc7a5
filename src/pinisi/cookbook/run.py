"""Runs a configuration, with the tasks and other probes that look at the model while it trains."""

from __future__ import annotations

from pathlib import Path

from pinisi.config import RunConfig
from pinisi.evaluate.run_probe import probes_of
from pinisi.launch import run as launched
from pinisi.train.result import Result
from pinisi.train.task import Task


def run(config: RunConfig | str | Path, task: type[Task] | None = None) -> Result:
    """Trains what a configuration, an object or a TOML file, describes, on ranks that it starts on this machine; resumes what is in
    run.folder.

    task: a class of one's own instead of what [task] names, defined at the top of a file, where the ranks find it. Where the
    environment says that this process is a rank already (torchrun, Slurm), it joins the others. Ctrl-C and SIGTERM save and
    stop: then `Result.whole` is False. Raises ConfigError, DataError, CheckpointError before a rank starts, PinisiError if the run
    fails; the ranks' one message is on stderr then.
    """
    return launched.run(config, task, probes_of)
