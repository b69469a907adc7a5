"""Shingles and signatures against sets of plain Python strings and exact Jaccard."""

import unicodedata

import numpy as np
import pytest

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate.duplicates.near import NOTHING, bands_for, keep, shingles, signature

LETTERS = {
    True: ["kapal", "Layar", "tiang", "laut", "don", "t", "Tất", "cả", "é", "7", "2024", "naïve", "ſ"],
    False: ["ក្នុង", "ខ្ញុំ", "ស្រី", "ကျွန်", "တော်", "သိက္ခာ", "เก่า", "น้ำ", "ก็", "ເກີດ", "ນ້ຳ", "人", "自由"],
}
CLUSTERS_OF = {
    "ក្នុង": ["ក្នុ", "ង"],
    "ខ្ញុំ": ["ខ្ញុំ"],
    "ស្រី": ["ស្រី"],
    "ကျွန်": ["ကျွ", "န်"],
    "တော်": ["တော်"],
    "သိက္ခာ": ["သိ", "က္ခာ"],
    "เก่า": ["เก่า"],
    "น้ำ": ["น้ำ"],
    "ก็": ["ก็"],
    "ເກີດ": ["ເກີ", "ດ"],
    "ນ້ຳ": ["ນ້ຳ"],
    "自由": ["自", "由"],
}


def plain_units(words: list[str], spaces: bool) -> list[str]:
    units = words if spaces else [unit for word in words for unit in CLUSTERS_OF.get(word, [word])]
    return [unicodedata.normalize("NFC", unit.casefold()) for unit in units]


def plain_shingles(words: list[str], spaces: bool, width: int) -> set[tuple[str, ...]]:
    units = plain_units(words, spaces)
    return {tuple(units[i : i + width]) for i in range(max(1, len(units) - width + 1))} if units else set()


@pytest.mark.parametrize("spaces", [True, False])
def test_shingles_are_the_distinct_runs_of_units(spaces):
    rng = np.random.default_rng(3)
    joints = [" ", ", ", "\n\n", " — ", ".\u00a0"] if spaces else ["", " ", "\u200b", "។ ", "!"]
    seen: dict[tuple[str, ...], int] = {}
    for _ in range(150):
        words = [str(rng.choice(LETTERS[spaces])) for _ in range(rng.integers(0, 23))]
        text = "".join(word + str(rng.choice(joints)) for word in words)
        if rng.random() < 0.5:
            text = unicodedata.normalize("NFD", text)
        for width in (1, 3, 7):
            expected = plain_shingles(words, spaces, width)
            found = shingles(text, spaces=spaces, width=width)
            assert len(found) == len(expected)
            assert found.dtype == np.uint64 and (np.diff(found.astype(object)) > 0).all()
            if len(expected) == 1:  # equal shingles have equal hashes, others others
                (only,) = expected
                assert seen.setdefault(only, int(found[0])) == int(found[0])
    assert len(set(seen.values())) == len(seen) > 20


@pytest.mark.parametrize("spaces", [True, False])
def test_jaccard_of_shingles_is_that_of_sets_of_strings(spaces):
    rng = np.random.default_rng(5)
    for _ in range(100):
        pair = []
        start = [str(w) for w in rng.choice(LETTERS[spaces], 37)]
        for _ in range(2):
            words = [w for w in start if rng.random() > 0.1]
            pair.append((words, shingles(" ".join(words).upper(), spaces=spaces, width=3)))
        (one, found_one), (other, found_other) = pair
        both = plain_shingles(one, spaces, 3) & plain_shingles(other, spaces, 3)
        assert len(np.intersect1d(found_one, found_other)) == len(both)


def test_what_does_not_count_and_what_does():
    def of(text, spaces=True):
        return shingles(text, spaces=spaces).tolist()

    assert of("") == of(" .,!\n") == of("\u200b", False) == []
    assert of("Satu, dua!") == of("satu\ndua") != of("satudua")
    assert of("co\u00adoperate") == of("cooperate")
    for form in ("NFC", "NFD"):
        assert of(unicodedata.normalize(form, "Tất cả, ILO ñ")) == of("tất cả ilo ñ")
    assert of("a b c d e") != of("a b c d e f")
    assert len(of("one two three four")) == 1 and len(of("one two three four five six")) == 2
    assert len(of("人" * 9, False)) == 1 and len(of("人人生而自由在尊严和权利上", False)) == 4
    with pytest.raises(DataError, match="not 0"):
        shingles("a", spaces=True, width=0)


def test_a_long_text_is_worked_on_in_pieces(monkeypatch):
    from pinisi.curate.duplicates import near

    whole = {}
    texts = {True: "Satu dua tiga. Empat\nlima enam tujuh delapan " * 5, False: "ខ្ញុំក្នុងស្រីកျွန်တော်เก่าน้ำ" * 5}
    for spaces, text in texts.items():
        whole[spaces] = shingles(text, spaces=spaces, width=4)
    split = near.blocks
    for size in (17, 23, 64):
        monkeypatch.setattr(near, "blocks", lambda text, size=size: split(text, size))
        for spaces, text in texts.items():
            np.testing.assert_array_equal(shingles(text, spaces=spaces, width=4), whole[spaces])


def test_signatures_are_the_same_on_every_machine():
    found = signature(
        shingles("Kapal pinisi dibuat di Sulawesi Selatan.", spaces=True), permutations=5, seed=7
    )
    assert found.dtype == np.uint32
    assert found.tolist() == GOLDEN
    assert text_key("pinisi") == GOLDEN_KEY


GOLDEN = [424811385, 1322912440, 55952856, 493414179, 1095116574]
GOLDEN_KEY = 2622730388547700759


def drawn_sets(rng, jaccard: float, size: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Two sets of uint64 of about this Jaccard, and the exact one."""
    common = round(2 * size * jaccard / (1 + jaccard))
    drawn = rng.integers(0, 2**64, 2 * size - common, dtype=np.uint64)
    return drawn[:size], drawn[size - common :], common / len(drawn)


def test_the_share_of_equal_numbers_estimates_jaccard():
    rng = np.random.default_rng(11)
    errors = []
    for jaccard in (0.1, 0.3, 0.5, 0.7, 0.9):
        for size in (13, 101, 2503):
            for _ in range(25):
                one, other, exact = drawn_sets(rng, jaccard, size)
                share = (signature(one) == signature(other)).mean()
                errors.append((share - exact) / np.sqrt(exact * (1 - exact) / 256))
    errors = np.array(errors)
    assert abs(errors.mean()) < 4 / np.sqrt(len(errors))
    assert 0.85 < errors.std() < 1.15
    assert abs(errors).max() < 4.5


def test_signature_of_parts_and_of_nothing():
    rng = np.random.default_rng(2)
    values = rng.integers(0, 2**64, 3001, dtype=np.uint64)
    parts = [signature(part) for part in np.array_split(values, 3)]
    np.testing.assert_array_equal(np.min(parts, axis=0), signature(rng.permutation(values)))
    assert (signature(values[:0]) == NOTHING).all()
    assert (signature(values, seed=1) == signature(values, seed=2)).sum() == 0


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.93])
@pytest.mark.parametrize("permutations", [101, 256])
def test_bands_find_what_is_above_the_threshold(threshold, permutations):
    bands, rows = bands_for(threshold, permutations)
    assert bands * rows <= permutations
    candidate = 1 - (1 - np.array([threshold - 0.3, threshold + 0.05]) ** rows) ** bands
    assert candidate[1] >= 0.99 and candidate[0] <= 0.4
    assert bands_for(0.7, 256) == (36, 7)


def test_bands_that_cannot_be_made_say_why():
    with pytest.raises(DataError, match=r"lies in \(0, 1\]"):
        bands_for(0.0, 256)


def test_the_longest_of_a_group_stays():
    rng = np.random.default_rng(31)
    count = 211
    names, lengths = rng.integers(0, 40, count), rng.integers(0, 4, count)
    keys, ties = rng.permutation(count).astype(np.uint64), np.zeros(count, np.uint64)
    mask = keep(names, lengths, keys)
    for name in range(40):
        members = np.flatnonzero(names == name)
        best = min(members, key=lambda i: (-lengths[i], keys[i]), default=None)
        assert members[mask[members]].tolist() == ([] if best is None else [best])
    ties = np.array([5, 2, 9], np.uint64)
    same = np.zeros(3, np.uint64)
    assert keep(same, same, same, ties).tolist() == [False, True, False]
    assert keep(same, same, same).tolist() == [True, False, False]
    assert keep(same[:0], same[:0], same[:0]).tolist() == []
