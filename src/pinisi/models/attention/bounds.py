"""Finds where each document of a row begins and ends: all that attention inside packed documents has to know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class DocumentBounds:
    """Holds the lengths of the documents that stand one behind another in each row: lengths[row][document]."""

    lengths: tuple[tuple[int, ...], ...]

    @property
    def sequence(self) -> int:
        """Returns s, the tokens of a row."""
        return sum(self.lengths[0]) if self.lengths else 0

    @property
    def packed(self) -> bool:
        """Returns whether a row has more than one document."""
        return any(len(row) > 1 for row in self.lengths)

    @property
    def documents(self) -> int:
        """Returns how many documents there are in all rows."""
        return sum(map(len, self.lengths))

    @property
    def longest(self) -> int:
        """Returns the length of the longest document."""
        return max(length for row in self.lengths for length in row)

    @cached_property
    def cumulative(self) -> tuple[int, ...]:
        """Returns cu_seqlens: where documents begin in all rows joined to one, and where the last one ends."""
        return (0, *accumulate(length for row in self.lengths for length in row))

    def pairs(self, window: int | None = None) -> int:
        """Returns how many pairs of a token and one that it sees there are."""
        found = 0
        for row in self.lengths:
            for length in row:
                reach = length if window is None else min(window, length)
                found += reach * (reach + 1) // 2 + (length - reach) * reach
        return found

    def first_seen(self, window: int | None = None) -> Tensor:
        """Returns [b, s]: the place in its row of the first token that each token sees."""
        place = torch.arange(self.sequence)
        rows = [
            torch.repeat_interleave(torch.tensor([0, *accumulate(row)][:-1]), torch.tensor(row))
            for row in self.lengths
        ]
        begins = torch.stack(rows)
        return begins if window is None else begins.maximum(place - (window - 1))


def document_bounds(documents: Tensor) -> DocumentBounds | None:
    """Returns the bounds of documents [b, s], or None where a row has one number at two places apart.

    documents: any integer per document of a row, on the host; on a GPU they would be waited for.
    """
    documents = documents.cpu()
    found = []
    for row in documents.unbind():
        numbers, lengths = torch.unique_consecutive(row, return_counts=True)
        if len(numbers) != len(numbers.unique()):
            return None
        found.append(tuple(lengths.tolist()))
    return DocumentBounds(tuple(found))
