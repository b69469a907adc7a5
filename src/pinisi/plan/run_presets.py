"""Reads the runs that are shipped with Pinisi, a TOML file each: published trainings, with the source of each number."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from pathlib import Path

from pinisi.base.errors import ConfigError
from pinisi.base.paths import absolute_paths
from pinisi.base.typed_toml import SettingsSource, from_table
from pinisi.config import RunConfig

_FOLDER = resources.files("pinisi.plan") / "presets"


def run_preset_names() -> list[str]:
    """Returns their names, the smallest model first."""
    names = [each.name.removesuffix(".toml") for each in _FOLDER.iterdir() if each.name.endswith(".toml")]
    return sorted(names, key=lambda name: (len(name), name))


def run_preset_text(name: str) -> str:
    """Returns the text of one. Raises ConfigError with the nearest name for one that isn't there."""
    names = run_preset_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"there is no preset {name!r}; there are {', '.join(names)}; the nearest is {near!r}"
        )
    return (_FOLDER / f"{name}.toml").read_text("utf-8")


def run_preset(name: str) -> RunConfig:
    """Returns one as a configuration, whose relative paths are meant from the working folder."""
    table = absolute_paths(tomllib.loads(run_preset_text(name)), RunConfig, Path.cwd())
    return from_table(table, RunConfig, SettingsSource(f"preset {name}", root=RunConfig))
