"""The command line: a file for each command."""

from pinisi.cli.main import main

__all__ = ["main"]
