"""Docstrings of every module, of what `pinisi` exports and of its runs begin with a verb."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pinisi

SOURCE = Path(pinisi.__file__).parent
MODULES = {SOURCE / name.replace(".", "/") for name in pinisi._MODULES.values()}
EXPORTED = {each / "__init__.py" if each.is_dir() else each.with_suffix(".py") for each in MODULES}
FILES = sorted(EXPORTED | set((SOURCE / "train").rglob("*.py")) | set((SOURCE / "launch").rglob("*.py")))
NOUNS = {
    "Bytes",
    "Costs",
    "Layers",
    "Gradients",
    "Ranks",
    "Rows",
    "Steps",
    "Weights",
    "Phases",
    "Passes",
    "Replicas",
    "This",
}


def begins_with_a_verb(text: str) -> bool:
    first = text.split()[0].rstrip(".,:;")
    return text.startswith("[") or (first[:1].isupper() and first.endswith("s") and first not in NOUNS)


def docstrings(path: Path) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            name = getattr(node, "name", "the module")
            if (text := ast.get_docstring(node)) and not name.startswith("_"):
                yield getattr(node, "lineno", 1), name, text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_docstring_begins_with_a_verb(path: Path) -> None:
    wrong = [
        f"{line} {name}: {text[:60]}" for line, name, text in docstrings(path) if not begins_with_a_verb(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_module_begins_with_a_verb() -> None:
    """A command's module may name the command before."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = re.sub(r"^`[^`]*`: ", "", ast.get_docstring(ast.parse(path.read_text())) or "no docstring")
        if not begins_with_a_verb(text[:1].upper() + text[1:]):
            wrong.append(f"{path.relative_to(SOURCE)}: {text[:60]}")
    assert not wrong, "\n".join(wrong)


def test_a_title_is_noticed() -> None:
    assert not any(
        map(
            begins_with_a_verb,
            ("The loss", "What is done", "Rows of r", "Of a step", "lp [b]", "Whether it is"),
        )
    )
    assert all(map(begins_with_a_verb, ("Reads it.", "Returns x", "[run] says where")))
