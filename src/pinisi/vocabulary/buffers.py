"""Large buffers kept from one microbatch to the next."""

from torch import Tensor


class Buffers:
    """Flat buffers of one dtype at a time; asked for a larger one, it lets the smaller ones go.

    Only for a CPU, where a fresh buffer costs a page fault every 4 KiB (8 % of S); torch's allocator for GPUs
    keeps its own.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, elements: int, like: Tensor) -> Tensor:
        """An uninitialised buffer of at least `elements`, of the dtype and on the device of `like`."""
        while self._free:  # of mixed sizes, since microbatches have different numbers of targets
            buffer = self._free.pop()
            if buffer.numel() >= elements and buffer.dtype == like.dtype:
                return buffer
        return like.new_empty(elements)

    def give(self, buffer: Tensor) -> None:
        if buffer.device.type == "cpu":
            self._free.append(buffer)
