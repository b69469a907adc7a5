"""One small project for all tests of this folder, and one run of it that nothing interrupts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pinisi.config import load
from pinisi.data import tokenize
from pinisi.launch.check import check
from pinisi.train.trainer import Trainer
from tests.data.conftest import write_corpus, write_tokenizer
from tests.distributed.pool import free_port
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


@pytest.fixture
def alone(monkeypatch):
    """train(toml, *overrides): a run of one rank, in this process."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    def train(toml: str, *overrides: str) -> None:
        monkeypatch.setenv("MASTER_PORT", str(free_port()))
        config = load(toml, list(overrides))
        check(config)
        assert Trainer(config).run().whole

    kept = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    yield train
    for s, handler in kept.items():
        signal.signal(s, handler)
