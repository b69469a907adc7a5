"""Times a dtype on this CPU, so that a run can say beforehand that another one would be faster."""

from __future__ import annotations

import time

import torch

# A product of about a third of a millisecond in float32; one thread's own time, so that other programs don't count.
ROWS, INNER, COLUMNS, TIMES = 128, 256, 512, 5
WORTH_SAYING = 2.0


def slowness(dtype: torch.dtype) -> float:
    """Returns how many times as long a matrix product takes in `dtype` as in float32, on this CPU."""
    return _seconds(dtype) / _seconds(torch.float32)


def advice(dtype: torch.dtype) -> str:
    """Returns a clause that says so where `dtype` is much slower here and narrower than float32, else nothing; on a GPU nothing."""
    if dtype.itemsize >= torch.float32.itemsize or torch.cuda.is_available():
        return ""
    times = slowness(dtype)
    if times < WORTH_SAYING:
        return ""
    return f" (this CPU takes {times:.0f} times as long for a product in it as in float32, so model.dtype=float32 is faster)"


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(ROWS, INNER, dtype=dtype), torch.ones(COLUMNS, INNER, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return min(_once(left, right) for _ in range(TIMES))
    finally:
        torch.set_num_threads(threads)


def _once(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.thread_time()
    left @ right.T
    return max(time.thread_time() - start, 1e-9)
