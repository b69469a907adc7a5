"""Pauses Python's collector of cycles while tables are worked on."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Tables and programs are hundreds of thousands of tuples and no cycle: to look for one costs half the time.

    As a context or as a decorator; within another pause it does nothing.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
