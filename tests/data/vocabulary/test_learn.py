"""Learning merges, held against the plainest way of doing it, over drawn words."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from pinisi.data.vocabulary.learn import MergeLearner, most_useful
from pinisi.data.vocabulary.words import balanced


def plain(words: dict[tuple[int, ...], int], first_id: int, tokens: int, lowest: int, banned: set) -> dict:
    """Counts all pairs anew for every merge."""
    texts = {word: list(word) for word in words}
    parts: dict[int, tuple[int, int]] = {}
    while len(parts) < tokens:
        counts: Counter = Counter()
        for word, text in texts.items():
            for pair in pairwise(text):
                counts[pair] += words[word]
        known = [(-count, pair) for pair, count in counts.items() if pair not in banned and count >= lowest]
        if not known:
            break
        pair = min(known)[1]
        id = first_id + len(parts)
        parts[id] = pair
        for word, text in texts.items():
            texts[word] = merged(text, pair, id)
    return parts


def merged(text: list[int], pair: tuple[int, int], id: int) -> list[int]:
    found: list[int] = []
    while text:
        if tuple(text[:2]) == pair:
            found, text = [*found, id], text[2:]
        else:
            found, text = [*found, text[0]], text[1:]
    return found


@pytest.mark.parametrize("seed", range(30))
def test_the_same_merges_as_the_plain_way(seed) -> None:
    random_ = random.Random(seed)
    letters = random_.randint(1, 5)  # few, so that a pair often overlaps itself
    words = {
        tuple(random_.choices(range(letters), k=random_.randint(1, 12))): random_.randint(1, 5)
        for _ in range(20)
    }
    banned = {tuple(random_.choices(range(letters + 3), k=2)) for _ in range(random_.randint(0, 3))}
    learner = MergeLearner(words, letters, lambda *pair: pair not in banned, lambda *made: None)
    parts = learner.learn(15, 3)
    assert parts == plain(words, letters, 15, 3, banned)
    used: Counter = Counter()
    for word, count in words.items():
        text = list(word)
        for id, pair in parts.items():
            text = merged(text, pair, id)
        used.update({id: n * count for id, n in Counter(text).items()})
    assert learner.used() == used


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_out_costs_what_is_said(seed) -> None:
    random_ = random.Random(seed)
    words = {
        tuple(random_.choices(range(4), k=random_.randint(2, 15))): random_.randint(1, 9) for _ in range(30)
    }
    learner = MergeLearner(words, 4, lambda *pair: True, lambda *made: None)
    parts = learner.learn(20, 2)
    best = most_useful(parts, learner.used(), 9)
    assert len(best.parts) == 9
    assert all(part < 4 or part in best.parts for pair in best.parts.values() for part in pair)
    used: Counter = Counter()
    for word, count in words.items():
        text = list(word)
        for id, pair in best.parts.items():
            text = merged(text, pair, id)
        used.update({id: n * count for id, n in Counter(text).items()})
    leaves = best.parts.keys() - {part for pair in best.parts.values() for part in pair}
    for leaf in leaves:  # the count of a token that no other is made of is what is saved by it
        assert best.counts[leaf] == pytest.approx(used[leaf], rel=0.5, abs=5)
    assert min(best.counts.values()) >= 0


def test_languages_are_balanced_by_the_temperature() -> None:
    words = {"a": Counter({(1, 2): 8}), "b": Counter({(3, 4): 1})}
    sizes = {"a": 800, "b": 100}
    even, as_is, half = (balanced(words, sizes, temperature) for temperature in (1e9, 1.0, 2.0))
    assert even[1, 2] == pytest.approx(even[3, 4], rel=1e-3)
    assert as_is[1, 2] == 8 * as_is[3, 4]
    assert half[1, 2] / half[3, 4] == pytest.approx(8**0.5, rel=1e-3)
