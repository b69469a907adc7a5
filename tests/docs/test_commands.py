"""Every command that a page names exists, with its options; those of a block can be typed as they stand."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError
from pinisi.base.typed_toml import parse_override
from pinisi.cli.bench import BENCHES
from pinisi.cli.dispatch import _parser
from pinisi.config import RunConfig
from pinisi.curate.config import CurateConfig
from tests.docs.pages import PAGES, ROOT, Command, commands, fences, module

COMMANDS = [command for page in PAGES for command in commands(page)]
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M)
reference = module(ROOT / "docs" / "reference.py")


@cache
def subcommands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [a for a in _parser(planning=True)._actions if isinstance(a, argparse._SubParsersAction)]
    return found.choices


def test_the_help_of_a_command_begins_with_what_it_does() -> None:
    for name, parser in subcommands().items():
        assert parser.description and parser.description[0].isupper() and parser.description[-1] == ".", name
        assert parser.description in " ".join(parser.format_help().split()) or name == "plan", name


TABLES = (
    "phases",
    "data.mixture",
)  # the reference shows these as sections, and a command line may give them whole


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


@cache
def help_of(bench: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        import_module(BENCHES[bench][0]).main(["--help"])
    return said.getvalue()


def keys(settings: type) -> set[str]:
    """A configuration's keys in dots."""
    found = set()
    for section in reference.sections(settings):
        for key in section.keys:
            found.add(f"{section.header.strip('[]')}.{key.name}".lstrip("."))
    return found


def check_pinisi(command: Command) -> None:
    name, *rest = command.words[1:]
    if name.startswith("-"):
        return
    assert name in subcommands(), command
    given = [word.split("=")[0] for word in rest if word.startswith("--")]
    if name == "bench":
        if not rest and not command.whole:
            return
        assert rest[:1] and rest[0] in BENCHES, command
        assert all(option in help_of(rest[0]) for option in given), command
        return
    parser = subcommands()[name]
    for kinds in [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]:
        if not rest and not command.whole:
            return
        assert rest[:1] and rest[0] in kinds.choices, command
        parser, rest = kinds.choices[rest[0]], rest[1:]
    assert set(given) <= options_of(parser), command
    if command.whole:
        parser.parse_args(rest)
    for word in rest:
        if name in ("train", "curate") and "=" in word and not word.startswith("-"):
            key, _ = parse_override(word)
            assert key in TABLES or key in keys(RunConfig if name == "train" else CurateConfig), command


def own_script(command: Command, name: str) -> str | None:
    """The page's own block of Python, where the page says to write it to a file of this name."""
    for page in PAGES:
        blocks = [fence.text for fence in fences(page) if fence.language == "python"]
        if (
            page.name == command.where.partition(":")[0]
            and len(blocks) == 1
            and f"`{name}`" in page.read_text()
        ):
            return blocks[0]
    return None


def check_script(command: Command) -> None:
    words = [word for word in command.words[1:] if not re.fullmatch(r"\d+", word)]
    if words[0] in ("-m", "-c") or (command.words[0] == "torchrun" and not command.whole):
        return
    (script,) = [word for word in words if word.endswith((".py", ".sbatch"))][:1]
    source = own_script(command, script) or (ROOT / script).read_text()
    for option in (word for word in words[words.index(script) + 1 :] if word.startswith("--")):
        assert option.split("=")[0] in source, command


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_exists(command: Command) -> None:
    program = command.words[0]
    if program == "pinisi":
        check_pinisi(command)
    elif program == "make":
        target = next(word for word in command.words[1:] if "=" not in word)
        assert target in TARGETS, command
    else:
        check_script(command)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 60
    assert {command.words[1] for command in COMMANDS if command.words[0] == "pinisi"} >= set(
        subcommands()
    ) - {"demo"}


@pytest.mark.parametrize(
    "words",
    [
        ("pinisi", "plan", "qwen2.5-7b", "--rank-count", "8"),
        ("pinisi", "trains", "run.toml"),
        ("pinisi", "train", "run.toml", "run.step=2"),
        ("pinisi", "bench", "pipelines"),
        ("make", "demos"),
        ("python", "benchmarks/nothing.py"),
        ("python", "benchmarks/quality.py", "--nothing"),
    ],
)
def test_a_wrong_command_is_noticed(words: tuple[str, ...]) -> None:
    with pytest.raises((AssertionError, SystemExit, OSError, ConfigError)):
        test_a_command_exists(Command("here", words, whole=True))


def test_paths_are_relative() -> None:
    assert not any(Path(word).is_absolute() for command in COMMANDS for word in command.words)
