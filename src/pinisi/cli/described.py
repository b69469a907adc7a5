"""Lets each command's own --help begin with what the list of all commands says of it."""

from __future__ import annotations

import argparse
from typing import Any


class Commands:
    """Adds commands to a parser as its own `add_parser` would; `help` is their description, too, where they have none."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser:
        """Adds one command."""
        said = settings.get("help", "")
        settings.setdefault("description", f"{said[:1].upper()}{said[1:]}." if said else None)
        parser: argparse.ArgumentParser = self._commands.add_parser(name, **settings)
        return parser
