"""Runs one command. Each imports what it needs when it runs, so that `pinisi --help` is instant."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from pinisi import __version__
from pinisi.base import terminal
from pinisi.base.errors import ConfigError, PinisiError
from pinisi.base.results import result_apart
from pinisi.cli import (
    bench,
    compare,
    contamination,
    corpus,
    curate,
    demo,
    evaluate,
    expand,
    export,
    fertility,
    generate,
    inspect,
    judge,
    langpack,
    merge,
    plan,
    prefer,
    preset,
    report,
    select,
    sft,
    tokenize,
    trace,
    train,
    vocabulary,
)
from pinisi.cli.described import Commands

COMMANDS = (
    train,
    sft,
    prefer,
    select,
    plan,
    preset,
    evaluate,
    compare,
    contamination,
    export,
    generate,
    judge,
    report,
    trace,
    corpus,
    langpack,
    curate,
    tokenize,
    inspect,
    fertility,
    vocabulary,
    expand,
    merge,
    bench,
    demo,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors meant for users are one line on stderr."""
    if arguments is None:
        terminal.prepare()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with result_apart(arguments):
            code = _run(arguments)
        sys.stdout.flush()
        return code
    except PinisiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        terminal.to_nowhere(sys.stdout)
        return 128 + signal.SIGPIPE  # as a program ends that nobody listens to
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        print(f"error: {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
        terminal.to_nowhere(sys.stdout)
        return 2
    except MemoryError:
        print(
            "error: out of memory: this process may not have more (ulimit -v, or the machine's own limit)",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["bench"] and len(arguments) > 1 and arguments[1] in bench.BENCHES:
        return bench.measure(arguments[1], arguments[2:])
    options = _parser(planning=arguments[:1] == ["plan"]).parse_args(arguments)
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working folder can't be read ({error.strerror}): cd to one that is there"
        ) from None
    return options.run(options, arguments)


def _parser(*, planning: bool = False) -> argparse.ArgumentParser:
    """planning: the options of `plan` name the presets, for which torch is imported."""
    parser = argparse.ArgumentParser(
        prog="pinisi", description="Language models with large vocabularies, in your languages."
    )
    parser.add_argument("--version", action="version", version=f"pinisi {__version__}")
    commands = Commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    for command in COMMANDS:
        if command is plan:
            plan.add(commands, planning)
        else:
            command.add(commands)
    return parser
