"""Finds which tokens count, and which rows of a shard their targets are."""

from functools import cached_property

import torch
from torch import Tensor

from pinisi.base.ids import IGNORE


class Targets:
    """ids [T]: global ids or -100, seen from a shard that holds rows start to start + rows.

    What the reference needs besides is made when it is asked for: the fused kernels read ids alone.
    """

    def __init__(self, ids: Tensor, start: int, rows: int) -> None:
        ready = ids.dtype == torch.int64 and ids.is_contiguous()
        self.ids = ids if ready else ids.to(torch.int64).contiguous()
        self.start = start
        self.rows = rows
        self._pieces: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def among(self, first: int, rows: int) -> "Targets":
        """The same, seen from these of the shard's rows."""
        return Targets(self.ids, self.start + first, rows)

    @cached_property
    def valid(self) -> Tensor:
        """[T]: not ignored."""
        return self.ids != IGNORE

    @cached_property
    def own(self) -> Tensor:
        """[T]: the target is one of this shard's rows."""
        return (self.ids >= self.start) & (self.ids < self.start + self.rows)

    @cached_property
    def local(self) -> Tensor:
        """[T]: the shard's row that is the target, -1 where it has none."""
        return torch.where(self.own, self.ids - self.start, -1)

    @cached_property
    def places(self) -> Tensor:
        """Tokens of which something is to be done at y: on a CPU those whose target is here, elsewhere all, which keeps
        shapes fixed (no host synchronisation)."""
        if self.ids.device.type == "cpu":
            return self.own.nonzero().flatten()
        return torch.arange(len(self.ids), device=self.ids.device)

    @cached_property
    def row(self) -> Tensor:
        """Their rows; where y is not here any, spread out, so that additions of zero do not all meet in one."""
        if self.ids.device.type == "cpu":
            return self.ids.index_select(0, self.places) - self.start
        spread = torch.arange(len(self.ids), device=self.ids.device) % max(1, self.rows)
        return torch.where(self.own, self.ids - self.start, spread)

    def pieces(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """places and row in about so many pieces, kept: S, U and T ask for the same."""
        if count not in self._pieces:
            split = (
                (self.places.chunk(count), self.row.chunk(count))
                if count > 1
                else ([self.places], [self.row])
            )
            self._pieces[count] = list(zip(*split, strict=True))
        return self._pieces[count]

    def places_within(self, first: int, width: int) -> tuple[Tensor, Tensor]:
        """On a CPU: tokens whose target is among the shard's rows first to first + width, and which of these it is."""
        if width == self.rows:
            return self.places, self.row
        column = self.row - first
        inside = ((column >= 0) & (column < width)).nonzero().flatten()
        return self.places[inside], column[inside]

    def columns(self, first: int, width: int) -> tuple[Tensor, Tensor]:
        """Each token's column among these rows, any where it has none, and whether it has one; [T] each."""
        column = self.local - first
        place = column.clamp(0, width - 1)
        return place, column == place
