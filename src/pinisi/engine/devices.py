"""Does what differs between devices: streams, events, pinned memory, and how much memory was held.

A CPU works when it is told to, so it has no streams. Every other kind of device is asked through the module that torch has
for it (`torch.cuda` for a GPU), so that a device of a test's own stands in by registering one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import torch


def works_beside(device: torch.device) -> bool:
    """Returns whether the device works beside the host, on streams."""
    return device.type != "cpu"


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was given."""
    _module(device).synchronize(device)


def event(device: torch.device, *, timing: bool = False) -> Any:
    """Returns an event of the device, not recorded yet; timing: for `elapsed_time`."""
    return _module(device).Event(enable_timing=timing)


def stream(device: torch.device) -> Any:
    """Returns a new stream of the device."""
    return _module(device).Stream(device)


def current_stream(device: torch.device) -> Any:
    """Returns the stream that gets what this thread gives to the device."""
    return _module(device).current_stream(device)


def on_stream(device: torch.device, given: Any) -> AbstractContextManager[Any]:
    """Gives what is done inside to another stream of the device."""
    return _module(device).stream(given)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copies a tensor of the host; a device that works beside it is given a pinned one, so that the host doesn't wait."""
    if works_beside(device):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def accelerator() -> ModuleType | None:
    """Returns what torch has for this process' GPU; None without one."""
    return torch.cuda if torch.cuda.is_available() else None


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)
