"""The configuration reference is made from the dataclasses, and each key has a sentence."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import pytest

from pinisi.config import RunConfig
from pinisi.curate.config import CurateConfig
from tests.docs.pages import ROOT, module

reference = module(ROOT / "docs" / "reference.py")
SECTIONS = [(title, section) for title, _, sections in reference.files() for section in sections]


@dataclass(frozen=True)
class Inner:
    """[inner] says: nothing."""

    bare: int = 3
    beside: float | None = None  # how far: it goes
    # two lines
    # above it
    above: Literal["a", "b"] = "a"
    broken: dict[str, int] = field(
        default_factory=dict  # within
    )


@dataclass(frozen=True)
class Outer:
    """Holds it."""

    needed: str  # one | two
    inner: Inner = field(default_factory=Inner)
    many: list[Inner] = field(default_factory=list)


@pytest.mark.parametrize(("title", "section"), SECTIONS, ids=lambda value: getattr(value, "header", None))
def test_each_key_has_a_sentence(title: str, section) -> None:
    without = [key.name for key in section.keys if len(key.sentence) < 8]
    assert not without, (
        f"{title} {section.header}: write a comment on, or above, the line of {', '.join(without)}"
    )
    assert len(reference.about(section)) > 12, f"{section.settings.__name__} needs a docstring"


def test_comments_are_found_where_they_may_stand() -> None:
    assert reference.comments(Inner) == {
        "bare": "",
        "beside": "how far: it goes",
        "above": "two lines above it",
        "broken": "within",
    }


def test_tables_are_found_with_their_types_and_defaults() -> None:
    outer, inner, many = reference.sections(Outer)
    assert [section.header for section in (outer, inner, many)] == ["", "[inner]", "[[many]]"]
    assert outer.keys == [reference.Key("needed", "text", "needed", "one | two")]
    assert [(key.type, key.default) for key in inner.keys] == [
        ("whole number", "`3`"),
        ("number", "left out"),
        ("`a`, `b`", '`"a"`'),
        ("table of whole number", "`{  }`"),
    ]
    assert reference.about(inner) == "Says: nothing."


def test_the_page_has_every_key() -> None:
    page = reference.page()

    def count(settings: type) -> int:
        total = 0
        for field_ in dataclasses.fields(settings):
            table = reference.inner(reference.get_type_hints(settings)[field_.name])
            total += count(table[0]) if table else 1
        return total

    rows = [line for line in page.splitlines() if line.startswith("| `")]
    tasks = sum(len(s.keys) for title, s in SECTIONS if title.startswith("Task"))
    assert len(rows) == count(RunConfig) + count(CurateConfig) + tasks
    assert "| `stuck_after` | number | `300.0` | Seconds that" in page


def test_a_cell_stays_a_cell() -> None:
    assert reference.sentence("a < b & c") == "A &lt; b &amp; c."
    assert reference.sentence("arXiv 1: x") == "arXiv 1: x."
    assert reference.sentence("") == ""
