"""Computes intervals of shares."""

from math import sqrt


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Returns the interval of a share, 95 % for z = 1.96 (Wilson 1927); of nothing, all that a share can be."""
    if not total:
        return 0.0, 1.0
    share, scale = hits / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
