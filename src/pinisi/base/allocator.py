"""Lets the C library keep freed memory, so that a CPU doesn't pay for fresh pages again and again."""

import ctypes
import os
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let large blocks that are freed stay with the process. glibc gives them back to the system, and each page of the next
    one then costs a fault: torch allocates whole activations anew in every pass, so a step spends up to a fifth of its time on
    that. Nothing is changed where the environment already sets up glibc's malloc (MALLOC_...), or where there is none."""
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
