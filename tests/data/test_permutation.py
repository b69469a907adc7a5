"""The permutation against what any order must be, against chance, and against the same network in plain integers."""

import hashlib
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.data.permutation import Permutation

BITS = (1 << 64) - 1


def by_hand(size: int, key: list[int | str], place: int) -> int:
    """One place in Python's own integers."""
    bits = max(6, (size - 1).bit_length())
    low_bits, high_bits = bits // 2, bits - bits // 2
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=64).digest()
    keys = [int.from_bytes(digest[at : at + 8], "little") for at in range(0, 64, 8)]

    def mixed(number: int) -> int:
        number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & BITS
        number = ((number ^ number >> 27) * 0x94D049BB133111EB) & BITS
        return number ^ number >> 31

    while True:
        low, high = place % 2**low_bits, place >> low_bits
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            high ^= mixed((low + even) & BITS) % 2**high_bits
            low ^= mixed((high + odd) & BITS) % 2**low_bits
        place = high << low_bits | low
        if place < size:
            return place


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 9))
def test_every_number_comes_once(size, seed, epoch):
    order = Permutation(size, seed, "id", epoch).at(np.arange(size))
    assert order.dtype == np.int64 and sorted(order.tolist()) == list(range(size))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 2**62), seed=st.integers(), name=st.text(), data=st.data())
def test_is_the_same_as_in_plain_integers(size, seed, name, data):
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=9))
    order = Permutation(size, seed, name, 3).at(np.array(places))
    assert order.tolist() == [by_hand(size, [seed, name, 3], place) for place in places]


def test_never_changes():
    """Checkpoints stand on it; taken from `by_hand`."""
    order = Permutation(1_000_000_007, 11, "id", 0).at(np.arange(4))
    assert order.tolist() == [by_hand(1_000_000_007, [11, "id", 0], place) for place in range(4)]
    assert order.tolist() == [575096972, 918432259, 466077908, 966067952]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_small_orders_are_all_as_frequent_as_chance_has_it(size):
    """Pearson's test over all orders of 2, 3 and 4: the sum is beyond mean + 5 deviations once in a million."""
    orders = list(itertools.permutations(range(size)))
    keys = 60 * len(orders)
    found = Counter(
        tuple(Permutation(size, key, "id", 0).at(np.arange(size)).tolist()) for key in range(keys)
    )
    square = sum((found[order] - 60) ** 2 / 60 for order in orders)
    free = len(orders) - 1
    assert square < free + 5 * (2 * free) ** 0.5


@pytest.mark.parametrize("size", [257, 1000, 4096])
def test_neighbours_fly_apart(size):
    """The first and second of an order, and the steps between neighbours, are spread as chance has it; Pearson's test, 16 bins."""
    keys = range(400)
    orders = np.stack([Permutation(size, key, "id", 0).at(np.arange(size)) for key in keys])
    for numbers in (orders[:, 0], orders[:, -1], np.diff(orders[:100], axis=1).ravel() % size):
        found = np.histogram(numbers, bins=16, range=(0, size))[0]
        expected = np.histogram(np.arange(size), bins=16, range=(0, size))[0] / size * len(numbers)
        square = ((found - expected) ** 2 / expected).sum()
        assert square < 15 + 5 * 30**0.5
    assert len({order.tobytes() for order in orders}) == len(keys)
