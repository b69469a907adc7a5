"""What tests of the native kernels need."""

import pytest

from pinisi.vocabulary.kernels import build


def compiler() -> str:
    """The C++ compiler; without one the test is skipped."""
    found = build.compiler()
    if found is None:
        pytest.skip("no C++ compiler")
    return found
