"""Measures a rank's memory: by part where a part can be counted, and the peak of the process or the device."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pinisi.engine.devices import accelerator

_before = 0  # bytes resident before the model was built


def _resident(field: str) -> int:
    """A field of /proc/self/status in bytes (VmRSS: now; VmHWM: the peak); 0 where there is no /proc."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def mark() -> None:
    """Marks the moment before the model is built: what the process holds from here on counts as the model's; the peak starts
    anew."""
    global _before
    if (gpu := accelerator()) is not None:
        gpu.reset_peak_memory_stats()
        return
    reset_peak()
    _before = _resident("VmRSS")


def reset_peak() -> None:
    """Starts the peak anew from what is held now."""
    if (gpu := accelerator()) is not None:
        gpu.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # the peak then includes what came before
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Returns bytes: on a GPU the allocator's peak; on a CPU the resident peak less what was there at `mark`."""
    if (gpu := accelerator()) is not None:
        return gpu.max_memory_allocated()
    return max(0, _resident("VmHWM") - _before)


def parts(engine) -> dict:
    """Returns {"parts": {name: bytes}, "peak": bytes} of one rank. What the passes need (activations, vocabulary buffers,
    messages) is the peak less what is always held."""
    slots = engine.slots
    held = {
        "parameters": engine.parts.frozen_bytes + sum(s.parameter.nbytes for s in slots),
        "gradients": sum(s.gradient.nbytes for s in slots),
        "optimizer": sum(
            tensor.nbytes
            for kept, slot in zip(engine.optimizer.state(), engine.optimizer.slots, strict=True)
            for tensor in kept.values()
            if tensor.data_ptr() != slot.parameter.data_ptr()  # fp32 weights are their own master
        ),
    }
    vocabulary = engine.worker.vocabulary_peak
    top = peak()
    rest = max(0, top - sum(held.values()) - vocabulary)
    return {
        "parts": {**held, "vocabulary buffers": vocabulary, "activations and messages": rest},
        "peak": top,
    }
