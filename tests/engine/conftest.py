"""One small project for all tests of this folder, and one run of it that nothing interrupts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinisi.data import tokenize
from tests.data.conftest import write_corpus, write_tokenizer
from tests.engine.runs import CONFIG, pinisi


@pytest.fixture(scope="package")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_corpus(folder / "text")
    write_tokenizer(folder / "tokenizer")
    tokenize(folder / "text", folder / "tokenizer", folder / "shards", report=lambda _: None)
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    return folder


@pytest.fixture(scope="package")
def whole(project) -> Path:
    """An uninterrupted run."""
    done = pinisi("train", str(project / "config.toml"))
    assert done.returncode == 0, done.stderr
    return project / "run"
