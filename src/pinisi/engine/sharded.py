"""Shares the optimizer out over the replicas of a model (ZeRO stage 1, arXiv 1910.02054): each holds and updates a part.

A matrix is cut by rows, as even as they go; what has one dimension or none goes whole to the replica that has least. Gradients are
summed to the part's owner (reduce-scatter, in buckets) while other passes run, the owner updates, and the parameters are
gathered. A replica holds 1/d of master weights and moments, and saves that part alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from pinisi.engine.gradient_sums import Flying, GradientSums
from pinisi.engine.optimizer import Optimizer, Slot, global_sum, row_norms
from pinisi.engine.settings import OptimizerSettings
from pinisi.parallel.status import waiting

# Bytes of gradients in one message: long enough for a link's rate, short beside all of them.
BUCKET = 32 * 2**20
# Their names from torch 2.13 on, and before.
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def row_parts(shapes: Sequence[Sequence[int]], replicas: int) -> list[list[range]]:
    """Returns parts[tensor][replica], the first indices that each replica has: all of them, each once.

    The same for the same shapes, so that nobody has to be told. A tensor without dimensions counts as one row.
    """
    load = [0] * replicas
    found = []
    for shape in shapes:
        rows = shape[0] if shape else 1
        width = 1
        for size in shape[1:]:
            width *= size
        by_load = sorted(range(replicas), key=lambda k: (load[k], k))
        counts = [rows // replicas if len(shape) > 1 else 0] * replicas
        if len(shape) > 1:
            for k in by_load[: rows % replicas]:
                counts[k] += 1
        else:
            counts[by_load[0]] = rows
        start, parts = 0, []
        for k, count in enumerate(counts):
            parts.append(range(start, start + count))
            start += count
            load[k] += count * width
        found.append(parts)
    return found


class _Cut(NamedTuple):
    """Holds a slot and, of each replica, the rows that it owns."""

    slot: Slot
    parts: list[range]


class ShardedOptimizer(Optimizer):
    """Updates this replica's part of each slot. `slots` are the parts, views of the whole parameters and gradients.

    A call of any method that sums or gathers is a collective one of the replicas: squares, step, restore, those of `sums`.
    """

    def __init__(self, whole: Sequence[Slot], settings: OptimizerSettings, group: dist.ProcessGroup):
        self.group = group
        self.replica, self.replicas = dist.get_rank(group), dist.get_world_size(group)
        parts = row_parts([tuple(slot.parameter.shape) for slot in whole], self.replicas)
        self.cuts = [_Cut(slot, cut) for slot, cut in zip(whole, parts, strict=True)]
        self.buckets = _buckets(self.cuts)
        super().__init__(
            [_owned(c.slot, c.parts[self.replica]) for c in self.cuts if c.parts[self.replica]], settings
        )
        self.frozen = not whole

    def sums(self, sent: Counter[str] | None = None) -> ShardSums:
        """Returns what sums gradients to their owners."""
        return ShardSums(self, sent)

    def _gather(self) -> None:
        """Brings every part from its owner into the parameters."""
        with waiting():
            flying = []
            for bucket in self.buckets:
                mine = bucket[0].slot.parameter.detach().new_zeros(_width(bucket, self.replicas))
                for cut, numbers in _pieces(bucket, self.replica, mine):
                    numbers.copy_(_rows(cut.slot.parameter.detach(), cut.parts[self.replica]))
                everyone = mine.new_empty(self.replicas, len(mine))
                work = _all_gather(everyone.view(-1), mine, group=self.group, async_op=True)
                flying.append((bucket, work, mine, everyone))
            for bucket, work, _, everyone in flying:
                work.wait()
                for replica in range(self.replicas):
                    if replica != self.replica:
                        for cut, numbers in _pieces(bucket, replica, everyone[replica]):
                            _rows(cut.slot.parameter.detach(), cut.parts[replica]).copy_(numbers)

    def squares(self) -> list[tuple[str, torch.Tensor]]:
        """Returns sums of squares of this rank's gradients, all replicas' parts; to the bit as without shares, for the same ones.

        Owners tell the norms of their rows, and all sum them in one order.
        """
        counted = [cut for cut in self.cuts if cut.slot.counted and cut.slot.gradient.numel()]
        if not counted:
            return super().squares()
        sizes = [_norms(cut.slot.gradient) for cut in counted]
        told = counted[0].slot.gradient.new_zeros(sum(sizes))
        views = told.split(sizes)
        for cut, view in zip(counted, views, strict=True):
            part = cut.parts[self.replica]
            if part:
                rows = row_norms(_rows(cut.slot.gradient, part)).reshape(-1)
                first = part.start if cut.slot.gradient.dim() > 1 else 0
                view[first : first + len(rows)] = rows
        global_sum(told, self.group)
        return [
            (cut.slot.name, view.double().square().sum()) for cut, view in zip(counted, views, strict=True)
        ]

    def step(self, learning_rate: float, norm: float) -> None:
        super().step(learning_rate, norm)
        self._gather()

    def zero(self) -> None:
        for cut in self.cuts:
            cut.slot.gradient.zero_()

    def restore(self, state: Sequence[dict[str, torch.Tensor]], steps: int, since: int = 0) -> None:
        super().restore(state, steps, since)
        self._gather()


class ShardSums(GradientSums):
    """Sums gradients to their owners by reduce-scatters, a bucket at a time; no bucket holds what two groups have.

    What a replica has of the others' parts is of no use from a launch on.
    """

    def __init__(self, optimizer: ShardedOptimizer, sent: Counter[str] | None = None):
        super().__init__([cut.slot for cut in optimizer.cuts], optimizer.group, sent)
        self.cuts, self.replica, self.replicas = optimizer.cuts, optimizer.replica, optimizer.replicas
        self.buckets = {
            part: _buckets([cut for cut in self.cuts if cut.slot.part == part])
            for part in dict.fromkeys(slot.part for slot in self.slots)
        }

    def _start(self, part: int | None) -> Iterator[Flying]:
        for bucket in self.buckets.get(part, []):
            yield self._reduce(bucket)

    def _reduce(self, bucket: list[_Cut]) -> Flying:
        """Enters a reduce-scatter of a bucket."""
        first, size = bucket[0].slot.gradient, _width(bucket, self.replicas)
        if _is_even(bucket):
            given = first.view(self.replicas, size)  # the matrix as it is
        else:
            given = first.new_zeros(self.replicas, size)
            for replica in range(self.replicas):
                for cut, numbers in _pieces(bucket, replica, given[replica]):
                    numbers.copy_(_rows(cut.slot.gradient, cut.parts[replica]))
        mine = given.new_empty(size)
        self._count(given.nbytes)
        work = _reduce_scatter(mine, given.view(-1), group=self.group, async_op=True)
        return Flying(work, partial(self._take, bucket, mine, given))

    def _take(self, bucket: list[_Cut], mine: torch.Tensor, _: torch.Tensor) -> None:
        """Puts the sums into this replica's rows. _: what the reduce-scatter reads, alive until here."""
        for cut, numbers in _pieces(bucket, self.replica, mine):
            _rows(cut.slot.gradient, cut.parts[self.replica]).copy_(numbers)

    def keep_own(self) -> None:
        for cut in self.cuts:
            for replica in range(self.replicas):
                if replica != self.replica:
                    _rows(cut.slot.gradient, cut.parts[replica]).zero_()


def _pieces(bucket: list[_Cut], replica: int, flat: torch.Tensor) -> list[tuple[_Cut, torch.Tensor]]:
    """Views of a replica's share of a bucket, in the shape of each of its parts."""
    found, at = [], 0
    for cut in bucket:
        view = _rows(cut.slot.gradient, cut.parts[replica])
        found.append((cut, flat[at : at + view.numel()].view(view.shape)))
        at += view.numel()
    return found


def _owned(slot: Slot, part: range) -> Slot:
    """Returns the part of a slot as a slot of its own, of the same memory."""
    parameter = nn.Parameter(_rows(slot.parameter.detach(), part), requires_grad=False)
    offset, axes = slot.box.offset, slot.axes or ()
    if slot.shape:
        offset = (offset[0] + part.start, *offset[1:])
        axes = (axes[0] or "data", *axes[1:])
    return Slot(slot.name, parameter, _rows(slot.gradient, part), slot.shape, offset, axes, slot.counted)


def _rows(tensor: torch.Tensor, part: range) -> torch.Tensor:
    if tensor.dim() == 0:
        return tensor if part else tensor.new_empty(0)
    return tensor[part.start : part.stop]


def _norms(gradient: torch.Tensor) -> int:
    """How many norms `row_norms` gives."""
    return len(gradient) if gradient.dim() > 1 else 1


def _width(bucket: list[_Cut], replicas: int) -> int:
    """Numbers of the largest share of a bucket: shares are filled up to it."""
    return max(
        sum(_rows(cut.slot.gradient, cut.parts[replica]).numel() for cut in bucket)
        for replica in range(replicas)
    )


def _is_even(bucket: list[_Cut]) -> bool:
    """Whether a bucket is one matrix of which every replica has as many rows: its memory is the message."""
    sizes = {len(part) for part in bucket[0].parts}
    return len(bucket) == 1 and len(sizes) == 1 and bucket[0].slot.gradient.is_contiguous()


def _buckets(cuts: Sequence[_Cut]) -> list[list[_Cut]]:
    """Puts slots together, in their order, until they have a bucket's bytes; a matrix of half a bucket goes alone, which
    spares the copy where its rows divide evenly."""
    found: list[list[_Cut]] = []
    size = BUCKET
    for cut in cuts:
        nbytes = cut.slot.gradient.nbytes
        if not nbytes:
            continue
        alone = nbytes >= BUCKET // 2 and _is_even([cut])
        if alone or size >= BUCKET or found[-1][0].slot.parameter.dtype != cut.slot.parameter.dtype:
            found.append([])
            size = 0
        found[-1].append(cut)
        size += BUCKET if alone else nbytes
    return found
