import os

import pytest

from .effort import FULL
from .pairwise import split

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when Triton is imported first, by whichever test: kernels then run on a CPU, one program after the other.
os.environ.setdefault("TRITON_INTERPRET", "1")


def _starts_processes(nodeid: str) -> bool:
    return nodeid.startswith(("tests/engine/", "tests/distributed/", "tests/bench/"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All cases only where all are asked for; and what takes longest goes first."""
    if not FULL:
        items[:], left = split(items)
        config.hook.pytest_deselected(items=left)
    items.sort(key=lambda item: _starts_processes(item.nodeid), reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """For several workers: tests that start processes of their own take one another's cores, so one worker runs them all; of the
    others those of a file stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCores(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "processes" if _starts_processes(nodeid) else nodeid.partition("::")[0]

    return ByCores(config, log)
