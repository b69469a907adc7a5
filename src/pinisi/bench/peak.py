"""Measures the peak extra memory of a piece of work, internal copies of torch's own operators included."""

import json
import tempfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int:
    """Most bytes that torch's allocator gave out at a time while `work` ran, above what it had given out before. What `work`
    returns counts as long as it lives. Scratch that a matrix library takes for itself is not seen.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        held = work()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) - before
        del held
        return peak
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        held = work()
    del held
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    taken = [event for event in events if event.get("name") == "[memory]"]
    taken.sort(key=lambda event: event["ts"])
    return max(accumulate((event["args"]["Bytes"] for event in taken), initial=0))
