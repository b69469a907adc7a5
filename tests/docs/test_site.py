"""The site builds without a warning, and its pictures are those that the scripts draw."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, module

BUILDS = all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings"))
JOURNEYS = module(ROOT / "docs" / "pictures.py").JOURNEYS


@pytest.mark.skipif(not BUILDS, reason="needs the extra 'docs': pip install -e '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    assert "stuck_after" in (tmp_path / "site" / "configuration.html").read_text()
    api = (tmp_path / "site" / "api.html").read_text()
    assert "pinisi.train.trainer.Trainer" in api and "Runs forward and backward of one step" in api


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_picture_is_as_it_is_drawn(name: str) -> None:
    pictures = module(ROOT / "docs" / "pictures.py")
    drawn = pictures.picture(*JOURNEYS[name])
    assert (ROOT / "docs" / f"{name}.svg").read_text("utf-8") == drawn, "run python docs/pictures.py"


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("nav:")[-1]
    assert all(f": {path.name}" in nav for path in (ROOT / "docs").glob("*.md"))
