"""Bits among the documents of a corpus against plain sorting of the values themselves."""

import random

import numpy as np
import pytest

from pinisi.curate.scores import BINS, ENOUGH, SOURCES, SPREAD, Bits, cuts


def tables(values, parts, draw):
    counted = [Bits() for _ in range(parts)]
    for source, bits in values:
        draw.choice(counted).add(source, bits)
    return [each.table() for each in counted]


def drawn(draw, sizes):
    return [(source, draw.gauss(*at)) for source, (count, *at) in sizes.items() for _ in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_thirds_and_limits_are_those_of_the_sorted_values(seed):
    draw = random.Random(seed)
    values = drawn(draw, {"help": (400, 2.2, 0.2), "news": (150, 3.4, 0.3), "few": (ENOUGH - 1, 3.0, 0.5)})
    values += [("news", 9.0)] * draw.randrange(4)
    found = cuts(tables(values, draw.randrange(1, 9), draw), 0.01)
    whole = np.sort([bits for _, bits in values])
    third = len(whole) // 3
    buckets = [found.bucket(bits) for bits in whole]
    assert abs(buckets.count("head") - third) <= 0.05 * len(whole)
    assert abs(buckets.count("tail") - third) <= 0.05 * len(whole)
    assert buckets == sorted(buckets, key=["head", "middle", "tail"].index)
    assert found.limit("few") is None and found.limit("unseen") is None
    for source in ("help", "news"):
        own = np.array([bits for name, bits in values if name == source])
        fences = []
        for column in (own, whole):
            first, last = np.quantile(column, (0.25, 0.75))
            fences.append(last + 3 * max(last - first, SPREAD))
        wanted = max(*fences, np.quantile(own, 0.99, method="inverted_cdf"))
        assert found.limit(source) == pytest.approx(wanted, abs=8 / BINS)
        assert (own > found.limit(source)).mean() <= 0.01


def test_parts_add_up_in_any_order():
    values = drawn(random.Random(1), {"a": (300, 2.0, 0.4), "b": (200, 4.0, 0.4)})
    one = cuts(tables(values, 1, random.Random(2)), 0.01)
    assert all(cuts(tables(values, parts, random.Random(3)), 0.01) == one for parts in (2, 7))


def test_news_among_help_pages_are_no_outliers_and_gibberish_is():
    draw = random.Random(4)
    values = drawn(draw, {"help": (2000, 2.0, 0.1), "news": (200, 3.5, 0.2)})
    values += [("help", 8.0)] * 15 + [("news", 8.0)]
    found = cuts(tables(values, 3, draw), 0.01)
    gone = [(source, bits) for source, bits in values if bits > found.limit(source)]
    assert gone == [("help", 8.0)] * 15 + [("news", 8.0)]
    assert cuts(tables(values, 3, draw), 0.0).limit("help") is None


def test_a_source_of_nothing_but_gibberish_loses_no_more_than_its_share():
    values = [("g", 6.0 + (n % 7) * 0.4) for n in range(1000)]
    found = cuts(tables(values, 2, random.Random(5)), 0.01)
    assert sum(bits > found.limit("g") for _, bits in values) <= 10


def test_sources_beyond_the_most_count_as_one():
    counted = Bits()
    for n in range(SOURCES + 300):
        counted.add(f"s{n}", 2.0)
    assert len(counted.table()) == SOURCES + 1 and sum(counted.table()[""].values()) == 300
    assert cuts([counted.table()], 0.01).limit("s1250") is not None
    assert cuts([], 0.01).outliers == {}
