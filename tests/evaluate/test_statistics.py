"""Paired tests against plain enumeration and the normal approximation, and Holm's correction against its definition."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from pinisi.evaluate.samples import mean_samples, ratio_samples, score_of, statistics_of
from pinisi.evaluate.statistics import holm, mid_p_of_signs, paired_difference
from pinisi.evaluate.translation import translation_samples, translation_scores

MEAN = score_of("mean")


def means(values) -> np.ndarray:
    return statistics_of(mean_samples(values))


def enumerated(a: list[int], b: list[int]) -> Fraction:
    """The two-sided mid-p of all 2^n swaps of whole numbers, without a shortcut."""
    seen = abs(sum(b) - sum(a))
    further = ties = 0
    for swaps in itertools.product((0, 1), repeat=len(a)):
        found = abs(sum((y - x) * (1 - 2 * s) for x, y, s in zip(a, b, swaps, strict=True)))
        further, ties = further + (found > seen), ties + (found == seen)
    return (further + Fraction(ties, 2)) / 2 ** len(a)


@pytest.mark.parametrize("seed", range(6))
def test_right_or_wrong_has_the_p_value_of_all_swaps(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = (draw.integers(0, 2, 11).tolist() for _ in range(2))
    found = paired_difference(means(a), means(b), MEAN)
    assert found.p == pytest.approx(float(min(1, enumerated(a, b))))
    assert found.difference == pytest.approx((sum(b) - sum(a)) / 11)
    assert found.telling == sum(x != y for x, y in zip(a, b, strict=True)) and found.samples == 11


@pytest.mark.parametrize("seed", range(4))
def test_other_scores_have_it_too(seed: int) -> None:
    draw = np.random.default_rng(10 + seed)
    a, b = (draw.integers(0, 4, 9).tolist() for _ in range(2))
    found = paired_difference(means(a), means(b), MEAN)
    assert found.p == pytest.approx(float(enumerated(a, b)), abs=1e-12)


def test_draws_count_half_of_what_is_equal() -> None:
    """2^16 swaps are drawn from, not tried; of halves and wholes many give the same."""
    draw = np.random.default_rng(2)
    a, moved = draw.integers(0, 3, 16) / 2, draw.choice([-1, -0.5, 0.5, 1], 16)
    b = a + moved
    sums = np.array(list(itertools.product((1, -1), repeat=16))) @ moved
    ties = (np.abs(sums) == abs(moved.sum())).mean()
    wanted = (np.abs(sums) > abs(moved.sum())).mean() + ties / 2
    assert ties > 0.05
    assert paired_difference(means(a), means(b), MEAN).p == pytest.approx(wanted, abs=0.015)


def test_many_samples_have_the_normal_p_value_and_interval() -> None:
    draw = np.random.default_rng(3)
    a = draw.normal(size=800)
    b = a + draw.normal(0.02, 0.7, 800)
    found = paired_difference(means(a), means(b), MEAN)
    error = (b - a).std() / math.sqrt(800)
    wanted = math.erfc(abs(found.difference) / error / math.sqrt(2))
    assert 0.01 < wanted < 0.6 and found.p == pytest.approx(wanted, abs=0.015)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_ratio_swaps_both_sides_of_a_document() -> None:
    """Long documents count for more, and one that the models score alike tells nothing."""
    above, below = [30.0, 10.0, 7.0, 5.0, 9.0], [10.0, 4.0, 2.0, 3.0, 5.0]
    other = [25.0, 9.0, 7.5, 5.0, 8.0]
    a, b = (statistics_of(ratio_samples(each, below)) for each in (above, other))
    seen = abs(sum(other) - sum(above)) / sum(below)
    further = ties = 0
    for swaps in itertools.product((0, 1), repeat=5):
        shift = sum((y - x) * (1 - 2 * s) for x, y, s in zip(above, other, swaps, strict=True)) / sum(below)
        further, ties = further + (abs(shift) > seen + 1e-9), ties + (abs(abs(shift) - seen) <= 1e-9)
    found = paired_difference(a, b, score_of("ratio"))
    assert found.p == pytest.approx((further + ties / 2) / 32)
    assert (found.difference, found.telling) == (pytest.approx(-6.5 / 24), 4)
    perplexity = paired_difference(a, b, score_of("exponential"))
    assert perplexity.difference == pytest.approx(math.exp(sum(other) / 24) - math.exp(sum(above) / 24))


def test_equal_models_are_never_told_apart() -> None:
    values = np.random.default_rng(0).random(50)
    found = paired_difference(means(values), means(values), MEAN)
    assert (found.p, found.difference, found.low, found.high, found.telling) == (1.0, 0, 0, 0, 0)


def test_the_same_seed_gives_the_same_and_the_order_of_models_nothing_but_the_sign() -> None:
    draw = np.random.default_rng(1)
    a, b = means(draw.random(40)), means(draw.random(40))
    there, back = paired_difference(a, b, MEAN, 5), paired_difference(b, a, MEAN, 5)
    assert there == paired_difference(a, b, MEAN, 5)
    assert (there.p, there.difference) == (back.p, -back.difference)


def test_a_coin_is_counted_exactly() -> None:
    """18 of 20 and so on, in fractions."""
    for count, fewer in ((5, 0), (20, 5), (101, 40), (3, 1), (4, 2)):
        tail = sum(Fraction(math.comb(count, k), 2**count) for k in range(fewer))
        wanted = 2 * tail + Fraction(math.comb(count, fewer), 2**count)
        assert mid_p_of_signs(fewer, count) == pytest.approx(float(wanted if 2 * fewer < count else 1))


def test_translations_are_compared_as_whole_sets() -> None:
    pytest.importorskip("sacrebleu")
    references = ["ฝนตกหนักมากวันนี้", "ถนนเปียกทั้งสาย", "เด็กร้องไห้", "แก้วแตก", "รถเสียกลางทาง", "ไฟดับทั้งเมือง"]
    worse = [text[:-3] for text in references]
    for name in ("chrf++", "bleu_char"):
        stats = [
            statistics_of(translation_samples(answers, references)[name]) for answers in (worse, references)
        ]
        found = paired_difference(*stats, score_of(name), swaps=200)
        scores = [translation_scores(answers, references)[0][name].value for answers in (worse, references)]
        assert found.difference == pytest.approx(scores[1] - scores[0])
        assert found.low > 0 and found.p == pytest.approx(2**-6)


def by_definition(p: list[float]) -> list[float]:
    """Closed testing: a hypothesis falls if each set of hypotheses with it does, by Bonferroni."""
    n = len(p)
    sets = [s for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]
    return [max(min(1.0, len(s) * min(p[k] for k in s)) for s in sets if number in s) for number in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_closed_testing_by_bonferroni(seed: int) -> None:
    p = (np.random.default_rng(seed).random(6) ** 3).tolist()
    assert holm(p) == pytest.approx(by_definition(p))
    assert holm([]) == []
