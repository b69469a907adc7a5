"""Intervals that cover as often as they say, and that whole documents are drawn for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinisi.evaluate.intervals import mean_of, ratio_of


def test_the_mean_lies_in_it_in_95_of_100_samples() -> None:
    draws = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        found = mean_of(draws.random(150) < 0.3, seed)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 199


def test_it_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(size=4000)
    found = mean_of(values)
    wide = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(wide, rel=0.08)


def test_a_ratio_draws_both_sides_together() -> None:
    """Bits that are twice the bytes in each document have no spread, however uneven documents are."""
    sizes = np.random.default_rng(2).integers(1, 1000, 50)
    assert ratio_of(2.0 * sizes, sizes)[:3] == pytest.approx((2, 2, 2))
    uneven = ratio_of(2.0 * sizes + np.arange(50), sizes)
    assert uneven.low < uneven.value < uneven.high


def test_the_same_seed_gives_the_same_and_nothing_gives_nan() -> None:
    values = np.random.default_rng(3).random(30).tolist()
    assert mean_of(values, 4) == mean_of(values, 4) != mean_of(values, 5)
    assert math.isnan(mean_of([]).value)
