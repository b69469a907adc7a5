"""The law of small trainings: numbers that it was made with come back, and its intervals hold the truth."""

import numpy as np
import pytest

from pinisi.base.errors import ConfigError
from pinisi.cookbook.loss_law import LossPoint, fit_loss_law
from pinisi.costs.published_vocabulary import published_sizes

TRUE = np.array([0.6, 0.05, 0.004, 0.02])


def _bits(body: float, vocabulary: float, text: float) -> float:
    """The law written out by hand."""
    powers = ((body / 1e6) ** -0.44660634152009615, (vocabulary / 1e6) ** -0.6707374679896795)
    return float(TRUE @ np.array([1, *powers, (text / 1e9) ** -0.44660634152009615]))


def _points(noise: float, seed: int) -> list[LossPoint]:
    generator = np.random.default_rng(seed)
    return [
        LossPoint(body, rows * 64, text, _bits(body, rows * 64, text) + generator.normal(0, noise))
        for body in (1e5, 4e5)
        for rows in (2_000, 8_000, 32_000)
        for text in (1e6, 4e6, 16e6)
    ]


def test_its_numbers_come_back() -> None:
    law = fit_loss_law(_points(0.0, 0))
    assert law.numbers == pytest.approx(TRUE, rel=1e-6)
    large = LossPoint(7e9, 64_000 * 4096, 1e12)
    assert law.bits(large) == pytest.approx(_bits(7e9, 64_000 * 4096, 1e12))
    text = law.text_for(law.bits(large), large.body, large.vocabulary)
    assert text == pytest.approx(1e12, rel=1e-4)
    assert law.text_for(0.1, large.body, large.vocabulary) == float("inf")


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    point = LossPoint(8e5, 16_000 * 64, 32e6)
    truth, inside, widths = _bits(8e5, 16_000 * 64, 32e6), 0, []
    for seed in range(10):
        low, high = fit_loss_law(_points(0.02, seed), seed).interval(point)
        inside += low <= truth <= high
        widths.append(high - low)
    assert inside >= 9
    assert np.mean(widths) < 0.3


def test_no_number_is_below_zero_and_few_points_are_refused() -> None:
    rising = [LossPoint(p.body, p.vocabulary, p.text, 3 - p.bits) for p in _points(0.0, 0)]
    assert (fit_loss_law(rising).numbers >= 0).all()
    with pytest.raises(ConfigError, match="5 small trainings"):
        fit_loss_law(_points(0.0, 0)[:5])


# Table 2 of arXiv 2407.13623: body, width, rows in thousands by the three approaches.
@pytest.mark.parametrize(
    ("body", "width", "rows"),
    [
        (3e9, 3200, (39, 43, 37)),
        (7e9, 4096, (62, 67, 60)),
        (13e9, 5120, (83, 91, 81)),
        (70e9, 8192, (212, 231, 218)),
    ],
)
def test_the_published_estimates_are_those_of_the_paper(body, width, rows) -> None:
    found = published_sizes(body, width)
    assert [round(value / 1000) for value in found.values()] == pytest.approx(rows, abs=1)
    enough, more = (
        published_sizes(body, width, flops)["approach 3 (loss formula)"] for flops in (1e22, 1e24)
    )
    assert more > enough
