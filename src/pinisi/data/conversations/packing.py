"""Packs chats into rows, so that little of a row is padding: which chats share a row follows from their lengths and order alone."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def packed_rows(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Returns rows of numbers of chats, each row of at most `room` tokens: the longest chats first, each into the row that has
    least room left beside it (best fit decreasing: Johnson 1974, "Fast algorithms for bin packing"). Rows come in the order of the
    earliest chat in each, and so do the chats of a row."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        size = lengths[number]
        place = bisect_left(free, (size, -1))
        if place == len(free):
            left, row = room, len(rows)
            rows.append([])
        else:
            left, row = free.pop(place)
        rows[row].append(number)
        if left > size:
            insort(free, (left - size, row))
    return sorted(map(sorted, rows))
