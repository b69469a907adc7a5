"""A hundred million made-up documents: opened at once, drawn from in little memory, resumed exactly. benchmarks/shards_scale.py
has ten times as many."""

import time
from pathlib import Path

import pytest

from pinisi.data import Sampler

from .made_up_shards import made_up_shards
from .test_sampler import same

SETTINGS = {"sequence": 2048, "batch": 4, "seed": 5}


def mebibytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return made_up_shards(tmp_path_factory.mktemp("made-up") / "s", 10**8, 100)


def test_takes_little_memory_and_resumes_exactly(folder):
    before, start = mebibytes(), time.process_time()
    sampler = Sampler(folder, **SETTINGS)
    assert time.process_time() - start < 1
    for _ in range(40):
        sampler.step(4)
    assert mebibytes() - before < 50  # bounds alone have 800 MB, and an order in memory would
    state = sampler.state()
    resumed = Sampler(folder, **SETTINGS)
    resumed.restore(state)
    assert same(resumed.step(4), sampler.step(4)) and resumed.state() == sampler.state()


def test_begins_anywhere(folder):
    """In the last documents of an epoch and the first of the next, without what lies before."""
    sampler = Sampler(folder, **SETTINGS)
    end = {"epoch": 3, "place": 10**8 - 2, "token": 7}
    sampler.restore({**sampler.state(), "components": {"id": {"fingerprint": "made up", **end}}})
    start = time.process_time()
    sampler.step(4)
    assert time.process_time() - start < 1
    assert sampler.state()["components"]["id"]["epoch"] == 4 and 4 < sampler.epochs["id"] < 4.001
