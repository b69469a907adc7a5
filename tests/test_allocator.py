"""What a process frees stays with it, unless its environment says how malloc is to work."""

import os
import subprocess
import sys

import pytest
import torch

from pinisi.launch import supervisor as launch

SCRIPT = """
import numpy as np
from pathlib import Path
from pinisi.base.allocator import keep_freed_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

keep_freed_memory()
block = np.ones(2**23)
full = resident()
del block
print(full - resident())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
@pytest.mark.parametrize("own", [{}, {"MALLOC_MMAP_THRESHOLD_": "65536"}])
def test_freed_memory_stays_unless_the_environment_sets_malloc_up(own):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, **own},
        capture_output=True,
        text=True,
        check=True,
    )
    given_back = int(done.stdout)  # MiB, of 64
    assert given_back > 60 if own else given_back < 4


@pytest.mark.parametrize("gpu", [False, True])
def test_ranks_keep_it_on_a_cpu(monkeypatch, gpu):
    seen = []
    monkeypatch.setattr(launch, "keep_freed_memory", lambda: seen.append("kept"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert launch.rank_main(lambda: seen.append("work") or 0) == 0
    assert seen == (["work"] if gpu else ["kept", "work"])
