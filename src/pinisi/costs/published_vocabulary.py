"""Estimates the best size of a vocabulary by the published laws of arXiv 2407.13623, which were fitted to English text mostly.

Constants: section 4 of the paper, with the digits of its authors' code (github.com/sail-sg/scaling-with-vocab, MIT). Vocabulary
parameters are those of one matrix, rows x width.
"""

from __future__ import annotations

import math

# Approach 1: best non-vocabulary and vocabulary parameters as powers of the training's FLOPs.
_BODY_AT_ONE, _BODY_POWER = math.exp(-2.4846510161625193), 0.5
_ROWS_AT_ONE, _ROWS_POWER = math.exp(-1.589031299255507), 0.4163622634135234
# Approach 2: best vocabulary parameters of a body of 33M, and how they grow with the body.
_SMALL_BODY, _SMALL_ROWS, _GROWTH = 33_000_000, 3_145_728, 0.8353974035228025
# Approach 3: loss = -E + A1 / body^beta + A2 / vocabulary^alpha2 + B / tokens^beta, in millions, millions and billions.
_A2, _B = 0.19584238398665638, 2.1241123120064955
BODY_POWER = TOKEN_POWER = 0.44660634152009615
VOCABULARY_POWER = 0.6707374679896795
_LEAST, _MOST = 1_000, 4_000_000  # rows that approach 3 looks between


def published_sizes(body: float, width: int, flops: float | None = None) -> dict[str, float]:
    """Best rows by each of the paper's three approaches. body: parameters without embedding and head; width: of a row.

    flops: of the whole training; those for which the body is the best one, if None (the first two approaches assume them always).
    """
    best = (body / _BODY_AT_ONE) ** (1 / _BODY_POWER)
    return {
        "approach 1 (IsoFLOPs)": _ROWS_AT_ONE * best**_ROWS_POWER / width,
        "approach 2 (derivative)": _SMALL_ROWS * (body / _SMALL_BODY) ** _GROWTH / width,
        "approach 3 (loss formula)": _least_loss(body / 1e6, width, (flops or best) / 1e15),
    }


def _least_loss(body: float, width: int, flops: float) -> float:
    """Rows of the least loss, by halving an interval of their logarithm. body: in millions; flops: in 10^15."""

    def slope(rows: float) -> float:
        """The loss's derivative by the logarithm of the rows."""
        vocabulary = rows * width / 1e6
        whole = 6 * (body + vocabulary)
        tokens = flops / whole
        falls = VOCABULARY_POWER * _A2 / vocabulary**VOCABULARY_POWER
        rises = TOKEN_POWER * _B / tokens**TOKEN_POWER * 6 * vocabulary / whole
        return rises - falls

    low, high = math.log(_LEAST), math.log(_MOST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(low)
