import pytest


@pytest.fixture(scope="package")
def _pools():
    """Package's, not session's: even idle processes of gloo cost other tests time."""
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
