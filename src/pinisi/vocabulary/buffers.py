"""Keeps memory from one microbatch to the next, on a CPU.

A fresh buffer costs a page fault every 4 KiB there (8 % of S); torch's allocator for GPUs keeps its own, so that both
classes ask it anew each time.
"""

from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

# Elements of one element-wise block, at least and at most: 1 MiB in fp32 stays in the cache, 1/4 MiB is worth its calls.
SMALL_BLOCK, CPU_BLOCK = 2**15, 2**18
TOKEN_BLOCK = 2**16  # at most, of rows [T, h] that are worked on beside the products
TARGET_BYTES = 2**18  # at most, of rows gathered for tokens' targets at a time, by many small operators
VIEWS = 4  # of one buffer that are kept
DEVICE_BLOCK = 2**25  # the same elsewhere: 128 MiB in fp32


class Buffer:
    """A flat one, and what was last cut of it: views cost 10 to 20 µs each where a product has left the cache cold, and the next
    microbatch is often of the same size."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat
        self._cut: tuple[Any, Any] | None = None

    def cut(self, case: object, make: Callable[[], Any]) -> Any:
        """What `make` makes of it; the same as before, where `case` is the same object as then."""
        if self._cut is None or self._cut[0] is not case:
            self._cut = case, make()
        return self._cut[1]


class Buffers:
    """Buffers of one dtype at a time; asked for a larger one, it lets the smaller ones go."""

    def __init__(self) -> None:
        self._free: list[Buffer] = []

    def take(self, elements: int, like: Tensor) -> Buffer:
        """An uninitialised buffer of at least `elements`, of the dtype and on the device of `like`."""
        while self._free:  # of mixed sizes, since microbatches have different numbers of targets
            buffer = self._free.pop()
            if buffer.flat.numel() >= elements and buffer.flat.dtype == like.dtype:
                return buffer
        return Buffer(_to_be_kept(elements, dtype=like.dtype, device=like.device))

    def give(self, buffer: Buffer) -> None:
        if buffer.flat.device.type == "cpu":
            self._free.append(buffer)


class Scratch:
    """Working space inside one call: a buffer for each name and dtype, the same one every time, so that only one user of a
    name may be at work on a thread. Every thread has its own: U is made beside S and T."""

    def __init__(self) -> None:
        # A buffer, as it was first asked for, and the latest views of it by their shape.
        self._buffers: dict[tuple[str, torch.dtype, int], tuple[Tensor, dict[tuple[int, int], Tensor]]] = {}

    def take(self, name: str, rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised [rows, columns]."""
        if device.type != "cpu":
            return torch.empty(rows, columns, dtype=dtype, device=device)
        key, shape = (name, dtype, get_ident()), (rows, columns)
        buffer, views = self._buffers.get(key, (None, {}))
        if shape in views:
            return views[shape]
        if buffer is None or buffer.numel() < rows * columns:
            self._buffers.pop(key, None)
            views.clear()  # before a larger one is asked for
            buffer = None
            buffer = _to_be_kept(rows, columns, dtype=dtype, device=device)
            self._buffers[key] = buffer, {shape: buffer}
            return buffer
        if len(views) == VIEWS:
            views.clear()
        views[shape] = view = buffer.as_strided(shape, (columns, 1))
        return view

    def drop(self, name: str) -> None:
        """Gives this thread's buffers of that name back, before others are needed beside which they would count."""
        for key in list(self._buffers):  # a copy, since another thread may take its first one meanwhile
            if key[0] == name and key[2] == get_ident():
                del self._buffers[key]

    def copy(self, of: Tensor, dtype: torch.dtype) -> Tensor:
        """A block's copy in that dtype, which lives until the next one's."""
        return self.take("block", of.shape[0], of.shape[1], dtype, of.device).copy_(of)


def _to_be_kept(*size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """No inference tensor: an evaluation's buffer stays for training, which may not write to one."""
    if not torch.is_inference_mode_enabled():  # to say so anyway takes 30 µs where the cache is cold
        return torch.empty(size, dtype=dtype, device=device)
    with torch.inference_mode(False):
        return torch.empty(size, dtype=dtype, device=device)


def block_elements(total: int) -> int:
    """Of a block of `total` elements that are worked on: a sixteenth, unless that is small or does not stay in the cache."""
    return min(CPU_BLOCK, max(SMALL_BLOCK, total // 16))


def part_rows(columns: int, tokens: int, hidden: int, room: int = 0) -> int:
    """Rows of a part of dW on a CPU. One such part lies beside what T holds, and inside the product a copy of its columns: together
    about a fifth of [T, C] and, where there is room for as many, `room` numbers. Smaller parts cost time, since each product
    arranges x [T, h] anew."""
    return max(1, -(-(columns * tokens + 5 * room) // (5 * (tokens + hidden) * 32))) * 32


def blocks(rows: int, columns: int, device: torch.device, elements: int | None = None) -> Iterator[slice]:
    """Slices of a matrix' rows that stay in a CPU's cache, of `block_elements` of it unless `elements` are given; on another
    device they only bound what is worked on beside it."""
    step = block_rows(rows, columns, device, elements)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def block_rows(rows: int, columns: int, device: torch.device, elements: int | None = None) -> int:
    """Rows of such a block. Where calls count, `Tensor.split` makes the blocks in one."""
    largest = elements or block_elements(rows * columns)
    if device.type != "cpu":
        largest = DEVICE_BLOCK
    return max(1, largest // max(1, columns))
