"""Keeps results of the last few calls, for tables that never change but are too large to compare, or to keep all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class IdentityCache(Generic[K, V]):
    """make(key) of the last `size` keys, told apart by identity."""

    def __init__(self, make: Callable[[K], V], size: int = 8) -> None:
        self._make, self._size = make, size
        self._kept: OrderedDict[int, tuple[K, V]] = OrderedDict()  # the key is held, so its id stays its own

    def __call__(self, key: K) -> V:
        kept = self._kept.get(id(key))
        if kept is None:
            kept = self._kept[id(key)] = key, self._make(key)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(key))
        return kept[1]
