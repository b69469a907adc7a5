"""Reads the project's pages: their fences, code spans, links and headings."""

from __future__ import annotations

import importlib.util
import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = {"configuration.md"}  # by docs/reference.py, as the site is built
PROGRAMS = ("pinisi", "make", "python", "torchrun", "sbatch")


class Fence(NamedTuple):
    """Holds a block of code: the page, the line that it begins on, its language ("" if none is said) and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


class Command(NamedTuple):
    """Holds a command that a page names. whole: it stands in a fence, so that it must be one that can be typed."""

    where: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.where}: {' '.join(self.words)}"


def fences(page: Path) -> list[Fence]:
    found, began, language, lines = [], 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if began:
                found.append(Fence(page, began, language, "\n".join(lines) + "\n"))
                began, lines = 0, []
            else:
                began, language = number, line.strip()[3:]
        elif began:
            lines.append(line)
    assert not began, f"{page.name}: the block of line {began} has no end"
    return found


def prose(page: Path) -> str:
    """The page without its fences; lines of a paragraph stay apart."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def spans(page: Path) -> list[str]:
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: Path) -> Iterator[Command]:
    for fence in fences(page):
        for number, line in enumerate(fence.text.splitlines(), fence.line + 1):
            for part in re.split(r"&&|\|", line.split(" #")[0]):
                yield from _command(f"{page.name}:{number}", part, whole=True) if fence.language == "" else ()
    for span in spans(page):
        yield from _command(page.name, span, whole=False)


def _command(where: str, text: str, *, whole: bool) -> Iterator[Command]:
    words = re.sub(r"^(?:\s*[A-Z_]+=\S+)*\s*", "", text).split() and shlex.split(text)
    while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
        words = words[1:]
    if words and words[0].removeprefix(".venv/bin/") in PROGRAMS and len(words) > 1:
        yield Command(where, (words[0].removeprefix(".venv/bin/"), *words[1:]), whole)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs alike make them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), flags=re.M):
        plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
