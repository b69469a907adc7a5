import os
import shutil
from pathlib import Path

import pytest

from .effort import FULL
from .pairwise import split

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when Triton is imported first, by whichever test: kernels then run on a CPU, one program after the other.
os.environ.setdefault("TRITON_INTERPRET", "1")


def _memory_folder() -> Path | None:
    """A folder in memory with room for all that tests write, some GiB: thousands of small files are synced to the disk, which takes
    a busy one tens of milliseconds each. None where there is no such room, and in containers that keep it small."""
    shared = Path("/dev/shm")
    try:
        memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(shutil.disk_usage(shared).free, int(memory["MemAvailable"].split()[0]) << 10)
    except (OSError, LookupError, ValueError):
        return None
    return shared if free >= 10 << 30 and os.access(shared, os.W_OK) else None


if (found := _memory_folder()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(found))  # pytest's name for where its folders stand


# Tests that start ranks take one another's cores and wait for one another's messages: as many lanes of them as cores keep busy.
LANES = (("tests/engine/",), ("tests/distributed/", "tests/bench/"))


def _lane(nodeid: str) -> int | None:
    """The lane of a test that starts ranks."""
    return next((number for number, folders in enumerate(LANES) if nodeid.startswith(folders)), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All cases only where all are asked for; and what takes longest goes first."""
    if not FULL:
        items[:], left = split(items)
        config.hook.pytest_deselected(items=left)
    items.sort(key=lambda item: _lane(item.nodeid) is not None, reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """For several workers: one runs all tests of a lane; of the others those of a file stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCores(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            lane = _lane(nodeid)
            return nodeid.partition("::")[0] if lane is None else f"lane {lane}"

    return ByCores(config, log)
