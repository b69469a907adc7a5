"""`pinisi preset`: prints or writes a run that is shipped with Pinisi, as a TOML file to change and to train."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError


def add(commands: Any) -> None:
    """Adds the command."""
    preset = commands.add_parser(
        "preset", help="print a published training as a TOML file, with the source of each number"
    )
    preset.add_argument("name", metavar="NAME", nargs="?", help="such as sailor2-1b; all names if left out")
    preset.add_argument("--out", metavar="FILE", help="write it there instead; a file that is there stays")
    preset.set_defaults(run=_preset)


def _preset(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.files import write_whole
    from pinisi.plan.run_presets import run_preset_names, run_preset_text

    if options.name is None:
        print("\n".join(run_preset_names()))
        return 0
    text = run_preset_text(options.name)
    if options.out is None:
        print(text, end="")
        return 0
    if Path(options.out).exists():
        raise ConfigError(f"--out {options.out} is there already, and is left alone: give another file")
    write_whole(options.out, text)
    print(f"written: {Path(options.out).absolute()}")
    return 0
