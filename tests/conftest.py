import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when Triton is imported first, by whichever test: kernels then run on a CPU, one program after the other.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several workers: tests that start processes of their own take one another's cores, so one worker runs them all,
    and first, for they take the longest; of the others those of a file stay together."""

    def processes(item: pytest.Item) -> bool:
        return item.nodeid.startswith(("tests/engine/", "tests/distributed/"))

    items.sort(key=processes, reverse=True)
    for item in items:
        group = "processes" if processes(item) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def _pools():
    pools: list = []
    yield pools
    for pool in pools:
        pool.close()


@pytest.fixture
def pool(_pools):
    """Four gloo processes, shared by all tests that need some; started again after a failure has ended them."""
    from tests.distributed.pool import Pool

    if not _pools or _pools[-1].closed:
        _pools.append(Pool())
    return _pools[-1]
