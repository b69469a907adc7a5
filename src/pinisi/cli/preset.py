"""`pinisi preset`: prints a run that is shipped with Pinisi, as a TOML file to change and to train."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    preset = commands.add_parser(
        "preset", help="print a published training as a TOML file, with the source of each number"
    )
    preset.add_argument("name", metavar="NAME", nargs="?", help="such as sailor2-1b; all names if left out")
    preset.set_defaults(run=_preset)


def _preset(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.plan.run_presets import run_preset_names, run_preset_text

    print(
        run_preset_text(options.name) if options.name else "\n".join(run_preset_names()),
        end="" if options.name else "\n",
    )
    return 0
