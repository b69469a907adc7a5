"""Links, anchors, and the files and folders that pages name, are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import GENERATED, PAGES, ROOT, anchors, links, module, spans

SOURCE = ROOT / "src" / "pinisi"
ROOMS = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
OURS = ("src/", "tests/", "benchmarks/", "examples/", "docs/")
LOG = "log.md"  # tells of code as it was


def missing(page: Path, link: str) -> str | None:
    if re.match(r"https?://", link):
        return None
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if target.name in GENERATED and target.parent == ROOT / "docs":
        text = module(ROOT / "docs" / "reference.py").page()
    elif not target.exists():
        return f"{page.name}: {link}: no such file"
    else:
        text = target.read_text() if target.suffix == ".md" else ""
    if anchor and anchor not in anchors(text):
        return f"{page.name}: {link}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not [fault for link in links(page) if (fault := missing(page, link))]


def test_a_wrong_link_is_noticed() -> None:
    page = ROOT / "README.md"
    assert missing(page, "docs/nothing.md") and missing(page, "docs/benchmarks.md#nothing")
    assert not missing(page, "docs/benchmarks.md#bytes")


def absent(span: str) -> bool:
    """Whether a code span names a file or a folder of ours that isn't there."""
    if re.fullmatch(r"[\w./{},-]+", span) is None or "..." in span or "/" not in span:
        return False
    if span.startswith(OURS):
        return not (ROOT / span).exists() and not (ROOT / f"{span}.py").exists()
    if span.split("/")[0] in ROOMS:
        return not any((SOURCE / f"{span}{end}").exists() for end in ("", ".py"))
    return False


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != LOG], ids=lambda page: page.name)
def test_paths_that_are_named_are_there(page: Path) -> None:
    assert not [span for span in spans(page) if absent(span)]


def test_a_wrong_path_is_noticed() -> None:
    assert absent("engine/nothing.py") and absent("benchmarks/nothing.py") and absent("src/pinisi/nothing")
    assert not absent("engine/prepared") and not absent("launch/run.py") and not absent("HTML/PDF")
