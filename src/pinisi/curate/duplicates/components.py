"""Joins numbers into connected components, in an array that may be a mapped file."""

import numpy as np

ALONE = -1  # the parent of what was never joined


def roots(parent: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The smallest member, so far, of each one's component; paths to it become one step."""
    found = members
    while True:
        above = parent[found]
        above = np.where(above == ALONE, found, above)
        if np.array_equal(above, found):
            break
        found = above
    parent[members] = found
    return found


def join(parent: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Puts each pair into one component. Only what the pairs lead to is touched, so a mapped `parent` is read in part."""
    while True:
        left, right = roots(parent, left), roots(parent, right)
        differ = left != right
        if not differ.any():
            return
        left, right = left[differ], right[differ]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))


def join_equal(parent: np.ndarray, values: np.ndarray, members: np.ndarray) -> None:
    """Puts members of equal values into one component."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    join(parent, members[order][:-1][same], members[order][1:][same])


def flatten(parent: np.ndarray, most: int = 1 << 20) -> None:
    """Makes every parent the smallest member of its component; what is alone stays so."""
    for first in range(0, len(parent), most):
        block = np.arange(first, min(first + most, len(parent)))
        roots(parent, block[parent[block] != ALONE])
