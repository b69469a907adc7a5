"""How much is tried: `make test` draws a part of the longest tests, `make bench` (PINISI_EXACTNESS=full) runs all of them."""

import os
from collections.abc import Sequence

import pytest

FULL = os.environ.get("PINISI_EXACTNESS") == "full"
only_full = pytest.mark.skipif(not FULL, reason="for make bench")


def first(count: int, values: Sequence[object]) -> list[object]:
    """Values of a parameter: `make test` runs the first so many, `make bench` all of them."""
    return [*values[:count], *(pytest.param(value, marks=only_full) for value in values[count:])]
