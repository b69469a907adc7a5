"""Permutes 0 ... n - 1 without a table: any place of a pseudo-random order is worked out alone, in no memory.

A Feistel network permutes all numbers of as many bits as n - 1 has: in each round one half of the bits is exclusive-ored with a
hash of the other half and the round's key, which can be undone whatever the hash is. A number that comes out at n or above goes
through the network again until one below n comes out (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite
domains", section 3); but for n of a few at most half of all numbers lie there. Only whole numbers of 64 bits are reckoned with,
so that the order is the same on every machine and with every version of numpy.
"""

import hashlib
import json

import numpy as np

ROUNDS = (
    8  # 4 hide any pattern where n is large (Luby and Rackoff 1988); the others are for n of a few documents
)
LEAST_BITS = (
    6  # with fewer some orders of a few numbers would come more often than others, whatever the rounds
)
MOST = 1 << 62


class Permutation:
    """Gives the number at each place of one pseudo-random order of `size` numbers.

    key: what the order follows from, numbers and texts: a seed, a component's name, an epoch.
    """

    def __init__(self, size: int, *key: int | str) -> None:
        assert 0 < size <= MOST
        self._size = size
        bits = max(LEAST_BITS, (size - 1).bit_length())
        self._low_bits = np.uint64(bits // 2)
        self._low = np.uint64((1 << bits // 2) - 1)
        self._high = np.uint64((1 << bits - bits // 2) - 1)
        digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=8 * ROUNDS).digest()
        self._keys = np.frombuffer(digest, "<u8").astype(np.uint64)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Returns the numbers, int64 [n], at `places`, int64 [n], each from 0 to size - 1."""
        if self._size == 1:
            return np.zeros(len(places), np.int64)
        numbers = self._network(places.astype(np.uint64))
        beyond = np.flatnonzero(numbers >= self._size)
        while len(beyond):
            numbers[beyond] = self._network(numbers[beyond])
            beyond = beyond[numbers[beyond] >= self._size]
        return numbers.astype(np.int64)

    def _network(self, numbers: np.ndarray) -> np.ndarray:
        low, high = numbers & self._low, numbers >> self._low_bits
        for position, key in enumerate(self._keys):
            if position % 2:
                low = low ^ (_hash(high, key) & self._low)
            else:
                high = high ^ (_hash(low, key) & self._high)
        return high << self._low_bits | low


def _hash(numbers: np.ndarray, key: np.uint64) -> np.ndarray:
    """Mixes all bits of uint64 [n] with a key (the finaliser of SplitMix64: Steele, Lea and Flood 2014, "Fast splittable
    pseudorandom number generators")."""
    mixed = numbers + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
