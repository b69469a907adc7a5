"""For modules whose tests are to run with all kernels that a CPU has: import the fixture."""

import contextlib

import pytest

from pinisi.vocabulary.kernels import use

from .kernels.compilers import compiler


@pytest.fixture(autouse=True, params=["by choice", "torch"])
def cpu_kernels(request):
    """As chosen where nobody asks, which is native ones in the dtypes that they have, and torch's operations."""
    if request.param == "by choice":
        compiler()
    with contextlib.nullcontext() if request.param == "by choice" else use("torch"):
        yield request.param
