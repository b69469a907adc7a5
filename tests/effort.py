"""How much is tried: `make test` draws a part of the longest tests, `make bench` (PINISI_EXACTNESS=full) runs all of them."""

import os

import pytest

FULL = os.environ.get("PINISI_EXACTNESS") == "full"
only_full = pytest.mark.skipif(not FULL, reason="for make bench")
