"""Features and the classifier on them: nothing depends on order, no text is graded by a model that has seen it."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate.quality.classifier import FOLDS, Classifier, area, fit
from pinisi.curate.quality.features import BITS, features
from pinisi.curate.quality.stages import sample
from tests.curate.texts import Language


def texts(code: str, seed: int, count: int) -> list[str]:
    return [document.text for document in Language(code, seed).documents(count)]


@pytest.mark.parametrize("code", ["xa", "xk"])
def test_a_feature_is_a_run_of_words_or_characters(code):
    spaces = code != "xk"
    text = texts(code, 3, 1)[0]
    places, values = features(text, spaces=spaces)
    assert (np.diff(places) > 0).all() and places.min() >= 0 and places.max() < 2**BITS
    assert math.isclose(float((values.astype(float) ** 2).sum()), 1, rel_tol=1e-5)
    assert not np.array_equal(places, features(text, spaces=not spaces)[0])
    if spaces:  # counted apart: words, pairs of words, runs of three characters
        words = [word.strip(".").lower() for word in text.split()]
        kinds = {("w", word) for word in words} | {("p", *pair) for pair in pairwise(words)}
        lower = text.lower()
        kinds |= {("c", lower[at : at + 3]) for at in range(len(lower) - 2)}
        assert 0 <= len(kinds) - len(places) < 10  # a few share a place


def test_how_often_counts_by_its_logarithm():
    once, thrice = features("abc", spaces=True), features("abc abc abc", spaces=True)
    assert len(set(once[0]) & set(thrice[0])) == 2  # the word, and its run of characters
    found = Counter(np.round(thrice[1].astype(float) / thrice[1].min(), 4).tolist())
    assert found == {1.0: 4, round((1 + math.log(3)) / (1 + math.log(2)), 4): 2}


def test_digits_are_alike_and_nothing_has_no_features():
    number = [set(features(text, spaces=True)[0]) for text in ("x 1987 y", "x 2044 y")]
    assert len(number[0] & number[1]) >= 6  # all runs of characters, and the words beside
    assert [len(part) for part in features("", spaces=True)] == [0, 0]


def test_good_texts_are_told_apart_whatever_their_order():
    good, others = texts("xa", 1, 80), texts("xb", 1, 200)
    of = {text: features(text, spaces=True) for text in good + others}
    keys = {text: text_key(text) for text in of}
    model = fit(
        [of[t] for t in good], [keys[t] for t in good], [of[t] for t in others], [keys[t] for t in others]
    )
    mixed = random.Random(1).sample(others, len(others))
    again = fit(
        [of[t] for t in good[::-1]],
        [keys[t] for t in good[::-1]],
        [of[t] for t in mixed],
        [keys[t] for t in mixed],
    )
    assert np.array_equal(model.weights, again.weights) and np.array_equal(model.biases, again.biases)
    unseen = [features(text, spaces=True) for text in texts("xa", 2, 50)]
    scores = np.array([model.score(each, n) for n, each in enumerate(unseen)])
    assert area(scores, np.array([model.score(of[t], keys[t]) for t in others])) > 0.999
    assert (scores > 0).all()


@pytest.mark.parametrize("code", ["xa", "xk"])
def test_a_text_is_graded_by_a_model_that_has_not_seen_it(code):
    """Texts of one kind, called good or not by lot: a model that knew a text would know what it was called."""
    drawn = texts(code, 5, 300)
    of, keys = [features(text, spaces=code != "xk") for text in drawn], [text_key(text) for text in drawn]
    model = fit(of[:150], keys[:150], of[150:], keys[150:])
    scores = np.array([model.score(each, key) for each, key in zip(of, keys, strict=True)])
    assert 0.4 < area(scores[:150], scores[150:]) < 0.6
    seen = np.array([model.score(each, key + 1) for each, key in zip(of, keys, strict=True)])
    assert area(seen[:150], seen[150:]) > 0.9


def test_both_sides_weigh_the_same_however_few_one_has():
    """Texts of one kind, a few of them called good: no score says more than that it can't be told."""
    drawn = texts("xa", 7, 412)
    of, keys = [features(text, spaces=True) for text in drawn], [text_key(text) for text in drawn]
    model = fit(of[:12], keys[:12], of[12:], keys[12:])
    unseen = [features(text, spaces=True) for text in texts("xa", 9, 40)]
    mean = np.mean([model.score(each, n) for n, each in enumerate(unseen)])
    assert abs(mean) < 1.5  # by numbers alone it would be log(12 / 400) = -3.5


def test_a_sample_is_of_the_smallest_keys_whatever_the_order():
    drawn = texts("xk", 8, 150)
    wanted = sorted(text_key(text) for text in drawn)[:40]
    for seed in range(3):
        mixed = random.Random(seed).sample(drawn, len(drawn))
        of = sample([*mixed, *mixed[:9]], 40, spaces=False)
        assert of.keys == wanted
        assert np.array_equal(of.features[0][0], sample(drawn, 40, spaces=False).features[0][0])


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_what_counting_pairs_says(seed):
    draw = np.random.default_rng(seed)
    good, others = draw.integers(0, 6, 20).astype(float), draw.integers(0, 5, 31).astype(float)
    pairs = [(a > b) + (a == b) / 2 for a in good for b in others]
    assert math.isclose(area(good, others), sum(pairs) / len(pairs))


def test_saved_and_loaded(tmp_path):
    draw = np.random.default_rng(0)
    model = Classifier(draw.random((FOLDS, 2**BITS), np.float32), draw.random(FOLDS, np.float32))
    model.save(tmp_path / "model.npz")
    loaded = Classifier.load(tmp_path / "model.npz")
    assert np.array_equal(model.weights, loaded.weights) and np.array_equal(model.biases, loaded.biases)
    (tmp_path / "model.npz").write_bytes(b"PK torn")
    with pytest.raises(DataError, match=r"model\.npz is no quality model"):
        Classifier.load(tmp_path / "model.npz")
