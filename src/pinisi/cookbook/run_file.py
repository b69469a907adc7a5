"""Writes the configuration that a command of one line stands for, so that `pinisi train` can go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.base.settings import dump
from pinisi.config import RunConfig, configure, load


def write_run(sections: dict[str, Any], file: Path, overrides: Sequence[str]) -> RunConfig:
    """Writes sections and overrides as one TOML file; returns the run. Raises ConfigError for what can't be."""
    write_whole(file, dump(configure(**sections)))
    config = load(file, overrides)
    write_whole(file, dump(config))
    return config


def draft_run(sections: dict[str, Any], file: Path, overrides: Sequence[str]) -> RunConfig:
    """Does so without the steps that overrides ask for: of a run whose steps follow from its data."""
    return write_run(sections, file, [each for each in overrides if not each.startswith("run.steps=")])
