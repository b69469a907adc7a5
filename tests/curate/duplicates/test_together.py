"""Which documents stay, against a plain greedy choice over all pairs: chains, copies, URLs, large buckets, any order."""

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.near import NOTHING, shingles, signature
from pinisi.curate.duplicates.pairs import least_equal
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.curate.duplicates.settle import LIKE, SAME_URL, STAYS, Settled, Texts
from pinisi.curate.duplicates.together import BYTES_PER_DOCUMENT, find

ALL = {"shape": (200, 1)}  # bands of one number: no pair is missed


def drawn_corpus(rng, families: int, shared: int = 0) -> list[np.ndarray]:
    """Sets of shingles: families of a set and its drawn variants; `shared` shingles are in all of them."""
    common = rng.integers(0, 2**64, shared, dtype=np.uint64)
    sets = []
    for _ in range(families):
        base = np.concatenate([common, rng.integers(0, 2**64, int(rng.integers(60, 200)), dtype=np.uint64)])
        sets.append(base)
        for _ in range(int(rng.integers(0, 4))):
            kept = base[rng.random(len(base)) > rng.uniform(0, 0.25)]
            new = rng.integers(0, 2**64, int(rng.integers(0, 20)), dtype=np.uint64)
            sets.append(np.concatenate([kept, new]))
    return sets


def texts(rng, count: int, urls: int = 0, lengths: int = 50) -> Texts:
    """Drawn keys, lengths and ids; every other document has one of so many URLs."""
    links = (
        np.where(rng.random(count) < 0.5, rng.integers(1, urls + 1, count), 0) if urls else np.zeros(count)
    )
    return Texts(
        rng.integers(0, 2**64, count, dtype=np.uint64),
        rng.integers(1, lengths, count),
        rng.integers(0, 2**64, count, dtype=np.uint64),
        links.astype(np.uint64),
    )


def taken(texts: Texts, rows: np.ndarray) -> Texts:
    return Texts(*(column[rows] for column in texts))


def greedy(signatures: np.ndarray, texts: Texts, threshold: float) -> tuple[list[int], list[int]]:
    """Who stays for each document and why, from all pairs of distinct texts, one after the other."""
    order = sorted(
        range(len(signatures)),
        key=lambda i: (-texts.lengths[i], texts.keys[i], texts.ids[i], texts.urls[i], i),
    )
    stays, reason, staying = [-1] * len(order), [0] * len(order), []
    for i in order:

        def same(j, i=i):
            return texts.keys[i] == texts.keys[j]

        like = [j for j in staying if not same(j) and (signatures[i] == signatures[j]).mean() >= threshold]
        copies = [j for j in staying if same(j)]
        linked = [j for j in staying if texts.urls[i] and texts.urls[i] == texts.urls[j]]
        for others, why in ((like, LIKE), (copies, LIKE), (linked, SAME_URL)):
            if others:
                stays[i], reason[i] = others[0], why
                break
        else:
            stays[i] = i
            staying.append(i)
    return stays, reason


def check(signatures: np.ndarray, texts: Texts, found: Settled, threshold: float) -> None:
    """Whoever goes is like one that stays, and by as much as is said, or has the URL of one."""
    rows = np.arange(len(signatures))
    assert ((found.reason == STAYS) == (found.stays == rows)).all()
    assert (found.reason[found.stays] == STAYS).all()
    like, linked = found.reason == LIKE, found.reason == SAME_URL
    equal = (signatures == signatures[found.stays]).sum(axis=1)
    assert (found.equal[like] == equal[like]).all() and (
        equal[like] >= threshold * signatures.shape[1] - 1e-9
    ).all()
    assert (texts.urls[linked] == texts.urls[found.stays[linked]]).all() and (texts.urls[linked] > 0).all()
    assert (texts.lengths <= texts.lengths[found.stays]).all()


@pytest.mark.parametrize("urls", [0, 3, 40])
def test_what_stays_is_the_greedy_choice_over_all_pairs(urls):
    rng = np.random.default_rng(17 + urls)
    for _ in range(4):
        sets = drawn_corpus(rng, 60)
        signatures = np.stack([signature(s) for s in sets])
        signatures = np.concatenate([signatures, signatures[: (copies := 23)]])
        of = texts(rng, len(signatures), urls)
        for column in (of.keys, of.lengths):
            column[-copies:] = column[:copies]
        found = find(Pieces([signatures]), of, threshold=0.6, **ALL)
        stays, reason = greedy(signatures, of, 0.6)
        assert found.reason.tolist() == reason and found.stays.tolist() == stays
        assert {*reason} == ({STAYS, LIKE, SAME_URL} if urls else {STAYS, LIKE})
        check(signatures, of, found, 0.6)
        usual = find(Pieces([signatures]), of, threshold=0.6)
        check(signatures, of, usual, 0.6)
        assert (usual.reason != found.reason).mean() < 0.03


def windows(count: int, step: int, size: int, rng) -> list[np.ndarray]:
    words = [f"w{n}" for n in rng.integers(0, 4000, count * step + size)]
    return [shingles(" ".join(words[n * step : n * step + size]), spaces=True) for n in range(count)]


@pytest.mark.parametrize(("step", "size"), [(16, 200), (5, 120), (30, 400)])
def test_of_a_chain_of_windows_several_stay(step, size):
    """Each window is like the next ones and unlike those further on: none goes for one that it is unlike."""
    rng = np.random.default_rng(step)
    for _ in range(10):
        sets = windows(25, step, size, rng)
        signatures, of = np.stack([signature(s) for s in sets]), texts(rng, 25, lengths=2)
        found = find(Pieces([signatures]), of, threshold=0.7)
        check(signatures, of, found, 0.7)
        exact = [
            len(np.intersect1d(a, b)) / len(np.union1d(a, b))
            for a, b in zip(sets, (sets[k] for k in found.stays), strict=True)
        ]
        assert min(exact) > 0.7 - 3.5 * np.sqrt(0.7 * 0.3 / 256)
        wide = (1 - 0.7) / (1 + 0.7) * size  # windows that far apart have a Jaccard of .7
        assert (found.reason == STAYS).sum() >= max(2, 24 * step / (2 * wide + step) - 2)
        # of those that stay no two are alike, but for noise that no comparison sees
        stay = np.flatnonzero(found.reason == STAYS)
        alike = (signatures[stay][:, None] == signatures[stay][None]).mean(axis=2) >= 0.7
        assert alike.sum() == len(stay)


def test_a_pair_that_bands_miss_is_compared_through_its_neighbours():
    """a and b share the first of two bands, b and c the second, a and c none: alone they both stay."""
    rng = np.random.default_rng(3)
    a = rng.integers(0, 2**32, 256, dtype=np.uint32)
    b, c = a.copy(), a.copy()
    b[5:10] = c[5:10] = rng.integers(0, 2**32, 5, dtype=np.uint32)
    c[:5] = rng.integers(0, 2**32, 5, dtype=np.uint32)
    signatures, of = np.stack([a, b, c]), texts(rng, 3)
    of.lengths[:] = [9, 8, 7]
    found = find(Pieces([signatures]), of, shape=(2, 5))
    assert found.stays.tolist() == [0, 0, 0] and found.equal.tolist() == [256, 251, 246]
    assert find(Pieces([signatures[::2]]), taken(of, np.array([0, 2])), shape=(2, 5)).stays.tolist() == [0, 1]


def test_what_stays_depends_on_no_order_and_no_budget():
    rng = np.random.default_rng(23)
    sets = drawn_corpus(rng, 150, shared=50)
    signatures = np.stack([signature(s) for s in sets])
    of = texts(rng, len(sets), 60)
    copies = rng.integers(0, len(sets), 57)
    signatures, of = (
        np.concatenate([signatures, signatures[copies]]),
        taken(of, np.append(np.arange(len(sets)), copies)),
    )
    of.ids[len(sets) :] = rng.integers(0, 2**64, 57, dtype=np.uint64)
    whole = find(Pieces([signatures]), of)
    check(signatures, of, whole, 0.7)
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(signatures))
        pieces = Pieces(np.array_split(signatures[order], seed + 1))
        least = len(order) * BYTES_PER_DOCUMENT
        found = find(pieces, taken(of, order), budget_bytes=least + seed)
        assert (found.reason == whole.reason[order]).all() and (found.equal == whole.equal[order]).all()
        assert (order[found.stays] == whole.stays[order]).all()


def test_pairs_in_a_large_bucket_are_found():
    """3,000 documents share half of their shingles, so bands throw hundreds into one bucket; 300 pairs are near duplicates."""
    rng = np.random.default_rng(29)
    common = rng.integers(0, 2**64, 120, dtype=np.uint64)
    sets = [np.concatenate([common, rng.integers(0, 2**64, 80, dtype=np.uint64)]) for _ in range(2700)]
    sets += [np.concatenate([s[:190], rng.integers(0, 2**64, 10, dtype=np.uint64)]) for s in sets[:300]]
    signatures, of = np.stack([signature(s) for s in sets]), texts(rng, len(sets))
    found = find(Pieces([signatures]), of)
    check(signatures, of, found, 0.7)
    assert ((found.reason[2700:] == LIKE) | (found.reason[:300] == LIKE)).mean() >= 0.97
    assert (found.reason == STAYS).sum() >= 2690


def test_in_a_large_bucket_all_are_compared_with_the_first():
    """400 variants of one text are like it and not like one another; all share the one band's hash."""
    rng = np.random.default_rng(37)
    original = rng.integers(0, 2**32, 256, dtype=np.uint32)
    signatures = np.stack([original, *(original.copy() for _ in range(400))])
    for variant in signatures[1:]:
        others = 1 + rng.permutation(255)[:70]
        variant[others] = rng.integers(0, 2**32, 70, dtype=np.uint32)
    order = rng.permutation(401)
    of = texts(rng, 401)
    of.lengths[np.flatnonzero(order == 0)] = 100
    found = find(Pieces([signatures[order]]), of, shape=(1, 1))
    assert (found.stays == np.flatnonzero(order == 0)[0]).all()


@pytest.mark.parametrize("size", [2, 15, 16])
def test_buckets_of_up_to_sixteen_are_compared_wholly(size):
    rng = np.random.default_rng(size)
    for left in range(0, size - 1, 3):
        for right in range(left + 1, size, 2):
            signatures = rng.integers(0, 2**32, (size, 256), dtype=np.uint32)
            signatures[right, :200] = signatures[left, :200]
            signatures[:, 0] = 5
            of = Texts(np.arange(size, dtype=np.uint64), *(np.zeros(size, np.int64) for _ in range(3)))
            found = find(Pieces([signatures]), of, shape=(1, 1))
            assert found.stays.tolist() == [left if i == right else i for i in range(size)]


def test_documents_without_letters_are_like_their_copies_alone():
    signatures = np.full((5, 256), NOTHING)
    none = np.zeros(5, np.int64)
    found = find(Pieces([signatures]), Texts(np.array([9, 3, 7, 7, 1], np.uint64), none, none, none))
    assert found.stays.tolist() == [0, 1, 2, 2, 4]
    assert len(find(Pieces([signatures[:0]]), Texts(*(none[:0],) * 4)).stays) == 0


def test_impossible_settings_say_what_is_needed():
    signatures, of = Pieces([np.zeros((5, 8), np.uint32)]), Texts(*(np.arange(5),) * 4)
    with pytest.raises(DataError, match="1280 bytes, but the budget is 100"):
        find(signatures, of, budget_bytes=100)
    with pytest.raises(DataError, match="3 bands of 3 rows"):
        find(signatures, of, shape=(3, 3))
    with pytest.raises(DataError, match="got 4"):
        find(signatures, taken(of, np.arange(4)))


def test_the_least_share_is_what_was_asked_for():
    assert [least_equal(s, 100) for s in (0.7, 0.701, 0.29, 1.0)] == [70, 71, 29, 100]
