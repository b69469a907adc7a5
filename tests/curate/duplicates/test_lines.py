"""Frequent lines against a Counter of plain strings."""

import unicodedata
from collections import Counter

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.lines import BLANK, Counts, count, frequent, line_hashes, merge, without

LINES = [
    "Beranda",
    "beranda ",
    "BERANDA",
    "Hak  cipta",
    "Hak cipta",
    "ស្វាគមន៍",
    "မြန်မာ",
    "é",
    "E\u0301",
    "2024",
    "",
    "  ",
    "---",
    "·",
]


def plain(line: str) -> str:
    return unicodedata.normalize("NFC", " ".join(line.casefold().split()))


def drawn_texts(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = LINES + [f"line {i}" for i in range(60)]
    return ["\n".join(str(l) for l in rng.choice(lines, rng.integers(0, 13))) for _ in range(101)]


def test_counts_are_those_of_a_counter():
    texts = drawn_texts(1)
    expected = Counter(plain(l) for text in texts for l in text.split("\n") if any(c.isalnum() for c in l))
    counts = count(np.concatenate([line_hashes(text) for text in texts]))
    assert sorted(counts.counts.tolist()) == sorted(expected.values())
    assert (np.diff(counts.hashes.astype(object)) > 0).all()
    for line, times in expected.items():
        (hashed,) = line_hashes(line)
        assert counts.counts[np.searchsorted(counts.hashes, hashed)] == times
    assert line_hashes("\n --- \n").tolist() == [BLANK] * 3
    assert line_hashes("Beranda").tolist() == [GOLDEN]


GOLDEN = 14594883305151784817


def test_parts_counted_apart_give_the_same():
    hashes = [line_hashes(text) for text in drawn_texts(2)]
    whole = count(np.concatenate(hashes))
    rng = np.random.default_rng(3)
    for parts in (1, 2, 7, 101):
        order = rng.permutation(len(hashes))
        merged = merge(
            count(np.concatenate([hashes[i] for i in part])) for part in np.array_split(order, parts)
        )
        np.testing.assert_array_equal(merged.hashes, whole.hashes)
        np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merge([]).hashes.tolist() == []


@pytest.mark.parametrize("more_than", [1, 5, 11])
def test_frequent_lines_go_and_the_others_stay(more_than):
    texts = drawn_texts(4)
    counter = Counter(plain(l) for text in texts for l in text.split("\n") if any(c.isalnum() for c in l))
    hashes = frequent(count(np.concatenate([line_hashes(text) for text in texts])), more_than)
    assert len(hashes) == sum(times > more_than for times in counter.values())
    for text in texts:
        left, removed = without(text, hashes)
        goes = [counter.get(plain(line), 0) > more_than for line in text.split("\n")]
        assert removed == [line for line, gone in zip(text.split("\n"), goes, strict=True) if gone]
        stays = [line for line, gone in zip(text.split("\n"), goes, strict=True) if line.strip() and not gone]
        assert [line for line in left.split("\n") if line.strip()] == stays
        if not removed:
            assert left == text


def test_gaps_where_lines_went():
    gone = np.sort(line_hashes("menu\nnotice"))
    for text, expected in [
        ("menu\n\nText.\n", "Text.\n"),
        ("One.\n\nMENU\n\nTwo.", "One.\n\nTwo."),
        ("One.\nmenu\n\n\nnotice\nTwo.", "One.\n\n\nTwo."),
        ("One.\n\n menu ", "One."),
        ("\nOne.\nmenu\n\n", "\nOne."),
        ("menu", ""),
        ("menus\n\nTwo.", "menus\n\nTwo."),
    ]:
        assert without(text, gone)[0] == expected
    assert without("menu", gone[:0]) == ("menu", [])


def test_a_limit_below_one_is_refused():
    with pytest.raises(DataError, match="more than 0 times"):
        frequent(Counts(np.zeros(0, np.uint64), np.zeros(0, np.int64)), 0)
