"""Writes the configuration reference from the dataclasses that read a configuration: `python docs/reference.py > configuration.md`.

A key's sentence is the comment on its line, or above it; a section's text is its class's docstring. mkdocs calls `on_files` when it
builds the site (see mkdocs.yml).
"""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import io
import re
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pinisi.base.typed_toml import toml_value
from pinisi.config import RunConfig
from pinisi.curate.config import CurateConfig
from pinisi.train.tasks import TASKS

PAGE = "configuration.md"
NEEDED = "needed"
LEFT_OUT = "left out"
INTRO = """\
# Configuration

Made from the classes that read a file, so it has every key. A key may be overridden on the command line as `section.key=value`, and
`none` unsets one that may be left out. An unknown key, or a value that can't be, is an error that names file, line and nearest key.
"""
PLAIN = {
    int: "whole number",
    float: "number",
    bool: "true, false",
    str: "text",
    dict: "table",
    type(None): LEFT_OUT,
}


class Key(NamedTuple):
    """Describes one key of a section."""

    name: str
    type: str
    default: str
    sentence: str


class Section(NamedTuple):
    """Describes one table of a file: its header as TOML has it, the class behind it, and its keys."""

    header: str
    settings: type
    keys: list[Key]


def comments(settings: type) -> dict[str, str]:
    """Finds each field's comment in a class's source: on its lines, or else on those above it; empty where there is none."""
    source = textwrap.dedent(inspect.getsource(settings))
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    said, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            said[token.start[0]] = token.string.lstrip("# ").strip()
            if not token.line[: token.start[1]].strip():
                alone.add(token.start[0])
    found = {}
    for node in body.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        lines = [line for line in range(node.lineno, (node.end_lineno or node.lineno) + 1) if line in said]
        above = node.lineno - 1
        while not lines and above in alone:
            above -= 1
        found[node.target.id] = " ".join(said[line] for line in lines or range(above + 1, node.lineno))
    return found


def type_text(hint: Any) -> str:
    """Says what a value may be, for people who know TOML and no Python."""
    origin, given = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" if choice != "" else '`""`' for choice in given)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(each) for each in given if each is not type(None))
    if origin is list:
        return f"list of {type_text(given[0])}"
    if origin is tuple:
        return f"{len(given)} × {type_text(given[0])}"
    if origin is dict:
        return f"table of {type_text(given[1])}"
    return PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


def default_text(field: dataclasses.Field) -> str:
    """Says what holds where a key is left out."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return NEEDED
    if value is None:
        return LEFT_OUT
    return f"`{toml_value(list(value) if isinstance(value, tuple) else value)}`"


def inner(hint: Any) -> tuple[type, bool] | None:
    """Returns a table's class and whether it is a list of tables; None of a plain value."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    if get_origin(hint) is list and dataclasses.is_dataclass(get_args(hint)[0]):
        return get_args(hint)[0], True
    return None


def sections(settings: type, path: str = "", header: str = "") -> Iterator[Section]:
    """Yields the tables of a file, each before those that stand in it. A file's own keys have the header ""."""
    hints, said, keys, within = get_type_hints(settings), comments(settings), [], []
    for field in dataclasses.fields(settings):
        table = inner(hints[field.name])
        dotted = f"{path}.{field.name}".lstrip(".")
        if table is None:
            keys.append(
                Key(field.name, type_text(hints[field.name]), default_text(field), said.get(field.name, ""))
            )
        else:
            within.append((table[0], dotted, f"[[{dotted}]]" if table[1] else f"[{dotted}]"))
    if keys:
        yield Section(header, settings, keys)
    for each in within:
        yield from sections(*each)


def files() -> Iterator[tuple[str, str, list[Section]]]:
    """Yields what there is to configure: a title, a line about it, its tables."""
    yield (
        "A run",
        "`pinisi train FILE`, `pinisi plan FILE`, `pinisi.load`, `pinisi.configure`.",
        list(sections(RunConfig)),
    )
    for name, task in TASKS.items():
        if dataclasses.fields(task.settings_class):
            text = (
                f'`[task]` of a run with `name = "{name}"`: {sentence((task.__doc__ or "").splitlines()[0])}'
            )
            yield f"Task {name}", text, list(sections(task.settings_class, "task", "[task]"))
    yield "A curation", "`pinisi curate FILE`.", list(sections(CurateConfig))


def sentence(text: str) -> str:
    """Returns a comment as a sentence that a table of Markdown can hold."""
    text = html.escape(text.strip(), quote=False)
    begins = text[:1] if text.startswith("arXiv") else text[:1].upper()
    return begins + text[1:] + ("" if not text or text.endswith((".", ":")) else ".")


def about(section: Section) -> str:
    """A section's docstring as one paragraph, without the header that it may begin with."""
    text = re.sub(r"\s+", " ", inspect.getdoc(section.settings) or "")
    return sentence(re.sub(r"^\[+[\w.]+\]+:?\s*", "", text))


def page() -> str:
    """Returns the whole reference in Markdown."""
    lines = [INTRO]
    for title, text, found in files():
        lines += [f"## {title}", "", text, ""]
        for section in found:
            if title[:4] != "Task":
                lines += [f"### {section.header or f'{title}: top of the file'}", "", about(section), ""]
            lines += ["| key | value | if left out | meaning |", "|-|-|-|-|"]
            for key in section.keys:
                cells = (f"`{key.name}`", key.type, key.default, sentence(key.sentence))
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            lines.append("")
    return "\n".join(lines)


def on_files(files, config):
    """Puts the page into the site that mkdocs builds."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


if __name__ == "__main__":
    sys.stdout.write(page())
