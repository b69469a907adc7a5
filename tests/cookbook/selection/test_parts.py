"""Percentiles, scores, vectors and the greedy choice, each against a plain way to compute it."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest

from pinisi.base.errors import ConfigError
from pinisi.cookbook.selection.greedy import Refusal, select
from pinisi.cookbook.selection.ranks import percentiles, scores
from pinisi.cookbook.selection.settings import SelectSettings, quotas_of
from pinisi.cookbook.selection.vectors import WIDTH, ngram_vectors

SENTENCES = [
    "Ibu kota Jawa Barat adalah Bandung, dan kota itu terletak di dataran tinggi.",
    "Gunung Merapi meletus lagi kemarin sore; abu menutupi beberapa desa di lerengnya.",
    "Untuk memasak rendang, daging sapi direbus dalam santan dan bumbu selama empat jam.",
    "Perahu pinisi dibuat oleh orang Bugis dan Makassar tanpa gambar rencana.",
    "Hujan deras membuat jalan di pusat kota tergenang air hingga setinggi lutut.",
]


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_counted_within_groups(seed) -> None:
    draw = random.Random(seed)
    values = [draw.choice([1.0, 2.0, 2.5, 7.0, -3.0]) for _ in range(60)]
    groups = [draw.choice("ab") + draw.choice("xy") for _ in values]
    found = percentiles(values, groups)
    for value, group, share in zip(values, groups, found, strict=True):
        own = [v for v, g in zip(values, groups, strict=True) if g == group]
        less, same = sum(v < value for v in own), sum(v == value for v in own)
        assert share == pytest.approx(float(Fraction(2 * less + same, 2 * len(own))), abs=1e-15)
    order = list(range(60))
    draw.shuffle(order)
    again = percentiles([values[n] for n in order], [groups[n] for n in order])
    assert [again[order.index(n)] for n in range(60)] == list(found)
    assert list(percentiles([5.0], ["alone"])) == [0.5]


def test_the_score_is_high_where_both_are() -> None:
    r, p = np.array([0.9, 0.9, 0.5]), np.array([0.9, 0.1, 0.5])
    assert scores(r, p, 3) == pytest.approx([0.45, 0.09, 0.25])
    assert list(scores(r, None, 3)) == list(r) and list(scores(None, p, 3)) == list(p)
    assert list(scores(None, None, 2)) == [0, 0]


def plainly(scores, vectors, groups, quotas, similar) -> dict[int, tuple]:
    """The same choice, one pair at a time."""
    kept: list[int] = []
    found: dict[int, tuple] = {}
    for number in sorted(range(len(scores)), key=lambda n: (-scores[n], n)):
        if sum(groups[k] == groups[number] for k in kept) >= quotas.get(groups[number], 10**9):
            found[number] = ("full",)
            continue
        cosines = {k: float(vectors[k] @ vectors[number]) for k in kept}
        if cosines and max(cosines.values()) > similar:
            found[number] = ("like", max(cosines, key=lambda k: cosines[k]))
            continue
        found[number] = ("kept",)
        kept.append(number)
    return found


@pytest.mark.parametrize(("seed", "similar"), list(itertools.product(range(4), (0.3, 0.6, 1.0))))
def test_the_greedy_choice_is_that_of_a_plain_loop(seed, similar, monkeypatch) -> None:
    monkeypatch.setattr("pinisi.cookbook.selection.greedy.BLOCK", 7)
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((12, 8))
    vectors = centres[draw.integers(0, 12, 90)] + 0.3 * draw.standard_normal((90, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    given, groups = np.round(draw.random(90), 1), draw.choice(["a", "b", "c"], 90).tolist()
    quotas = {"a": 3, "c": 0}
    found = select(given, vectors, groups, lambda g: quotas.get(g, float("inf")), similar)
    wanted = plainly(given, vectors, groups, quotas, similar if similar < 1 else 2)
    told = {
        n: ("kept",) if r is None else ("full",) if r.like is None else ("like", r.like)
        for n, r in found.items()
    }
    assert told == wanted and len(told) == 90
    for number, refused in found.items():
        if isinstance(refused, Refusal) and refused.like is not None:
            assert refused.cosine == pytest.approx(float(vectors[number] @ vectors[refused.like]), abs=1e-5)


def test_texts_that_differ_little_have_close_vectors_and_others_don_t() -> None:
    changed = [text.replace(" di ", " pada ").replace("dan", "serta").upper() + "!!" for text in SENTENCES]
    found = ngram_vectors([*SENTENCES, *changed, "", "?!"])
    assert found.shape == (12, WIDTH) and found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1] * 10 + [0, 0], abs=1e-5)
    cosines = found @ found.T
    assert all(cosines[n, n + 5] > 0.6 for n in range(5))
    assert all(cosines[a, b] < 0.3 for a, b in itertools.combinations(range(5), 2))
    assert np.array_equal(found, ngram_vectors([*SENTENCES, *changed, "", "?!"]))


def test_quotas_are_read_and_the_nearest_counts() -> None:
    settings = SelectSettings("x", quotas=quotas_of(["100", "th=50", "th/math=7"]))
    assert [settings.quota(*g) for g in (("id", ""), ("th", "chat"), ("th", "math"))] == [100, 50, 7]
    assert SelectSettings("x").quota("id", "") == float("inf")
    for wrong in ("many", "th=", "=x", "-3", "th=2.5"):
        with pytest.raises(ConfigError, match="needed a number"):
            quotas_of([wrong])
