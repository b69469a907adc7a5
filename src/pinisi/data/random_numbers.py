"""Makes random numbers that are a pure function of a key, the same in any version of numpy."""

import numpy as np


def philox_key(*numbers: int) -> np.ndarray:
    """Makes a Philox key [2] of uint64 from whole numbers of any size."""
    return np.random.SeedSequence([n & 0xFFFFFFFFFFFFFFFF for n in numbers]).generate_state(2, np.uint64)


def uniform(seed: int, number: int) -> float:
    """Returns random number `number` of a seed, in [0, 1)."""
    raw = np.random.Philox(key=philox_key(seed, number)).random_raw()
    return float(int(raw) >> 11) / (1 << 53)
