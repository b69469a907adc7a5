"""Holds the command line: a file for each command, each with `add` (its options) and a function that runs it."""

from pinisi.cli.dispatch import main

__all__ = ["main"]
