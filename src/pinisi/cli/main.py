"""Runs one command. Each imports what it needs when it runs, so that `pinisi --help` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pinisi import __version__
from pinisi.base.errors import PinisiError
from pinisi.cli import (
    bench,
    corpus,
    curate,
    demo,
    export,
    fertility,
    inspect,
    langpack,
    plan,
    report,
    tokenize,
    trace,
    train,
)

COMMANDS = (
    train,
    plan,
    export,
    report,
    trace,
    corpus,
    langpack,
    curate,
    tokenize,
    inspect,
    fertility,
    bench,
    demo,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors meant for users are one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["bench"] and len(arguments) > 1 and arguments[1] in bench.BENCHES:
            return bench.measure(arguments[1], arguments[2:])
        options = _parser(planning=arguments[:1] == ["plan"]).parse_args(arguments)
        return options.run(options, arguments)
    except PinisiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(*, planning: bool = False) -> argparse.ArgumentParser:
    """planning: the options of `plan` name the presets, for which torch is imported."""
    parser = argparse.ArgumentParser(
        prog="pinisi", description="Language models with large vocabularies, in your languages."
    )
    parser.add_argument("--version", action="version", version=f"pinisi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        if command is plan:
            plan.add(commands, planning)
        else:
            command.add(commands)
    return parser
