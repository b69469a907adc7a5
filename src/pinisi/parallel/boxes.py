"""Says which part of a tensor somebody holds: a box, with the first index and the length of each dimension."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """Names a hyper-rectangle of a tensor: along dimension d the indices offset[d] up to offset[d] + size[d].

    A tensor without dimensions has one box, Box((), ()), which holds its one number.
    """

    offset: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """Returns all of a tensor."""
        return cls((0,) * len(shape), tuple(shape))

    @classmethod
    def rows(cls, rows: range, shape: Sequence[int]) -> Box:
        """Returns some rows of a tensor of at least one dimension."""
        return cls((rows.start, *(0 for _ in shape[1:])), (len(rows), *shape[1:]))

    @property
    def end(self) -> tuple[int, ...]:
        """The first index behind the box, of each dimension."""
        return tuple(a + n for a, n in zip(self.offset, self.size, strict=True))

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.size)

    def overlap(self, other: Box) -> Box | None:
        """Returns what both hold, None if that is nothing."""
        offset = tuple(map(max, self.offset, other.offset))
        size = tuple(min(a, b) - start for a, b, start in zip(self.end, other.end, offset, strict=True))
        return None if any(n <= 0 for n in size) else Box(offset, size)

    def without(self, other: Box) -> list[Box]:
        """Returns boxes that share no number and hold together what `other` does not."""
        common = self.overlap(other)
        if common is None:
            return [self] if self.numel else []
        found, offset, size = [], list(self.offset), list(self.size)
        for d, (start, end) in enumerate(zip(common.offset, common.end, strict=True)):
            for first, stop in ((offset[d], start), (end, offset[d] + size[d])):
                if first < stop:
                    found.append(
                        Box((*offset[:d], first, *offset[d + 1 :]), (*size[:d], stop - first, *size[d + 1 :]))
                    )
            offset[d], size[d] = start, end - start
        return found

    def inside(self, outer: Box) -> tuple[slice, ...]:
        """Returns where it stands in a tensor that holds `outer`."""
        return tuple(
            slice(a - first, a - first + n)
            for a, n, first in zip(self.offset, self.size, outer.offset, strict=True)
        )

    def fits(self, shape: Sequence[int]) -> bool:
        """Returns whether it lies in a tensor of this shape."""
        return len(self.offset) == len(self.size) == len(shape) and all(
            a >= 0 and n >= 0 and a + n <= whole
            for a, n, whole in zip(self.offset, self.size, shape, strict=True)
        )

    def __str__(self) -> str:
        return f"[{', '.join(f'{a}:{b}' for a, b in zip(self.offset, self.end, strict=True))}]"


def parting_fault(wanted: Box, boxes: Iterable[Box]) -> str | None:
    """Returns what keeps boxes from holding each number of `wanted` exactly once, None if nothing does.

    What they hold beside `wanted` is no fault. All have as many dimensions.
    """
    remaining = [wanted] if wanted.numel else []
    for box in sorted(boxes):
        part = box.overlap(wanted)
        if part is None:
            continue
        if sum(common.numel for rest in remaining if (common := rest.overlap(part))) < part.numel:
            return f"{part} is there twice, in whole or in part"
        remaining = [left for rest in remaining for left in rest.without(part)]
    return f"{remaining[0]} is missing" if remaining else None
