"""Candidates of drawn buckets, against a plain account of the rule for one bucket."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np

from pinisi.curate.duplicates.pairs import buckets, candidates, distinct
from pinisi.curate.stages.partitioned import _by_priority


def plain(members: list[int], after: np.ndarray, alike: np.ndarray) -> set[tuple[int, int]]:
    if len(members) <= 16:
        return set(combinations(members, 2))
    pairs, rest = set(), members
    for _ in range(8):
        if rest:
            leader, *others = rest
            pairs |= {(leader, other) for other in others if alike[leader, other]}
            rest = [other for other in others if not alike[leader, other]]
    rest = sorted(rest, key=lambda member: after[member])
    return pairs | {(one, other) for n, one in enumerate(rest) for other in rest[n + 1 : n + 16]}


def test_candidates_are_those_of_each_bucket():
    rng = np.random.default_rng(6)
    for _ in range(30):
        sizes = rng.choice([1, 2, 15, 16, 17, 18, 45, 90], 6)
        count = int(sizes.sum())
        documents = rng.permutation(count)
        hashes = np.repeat(rng.integers(0, 2**64, len(sizes), dtype=np.uint64), sizes)
        groups = np.split(documents, np.cumsum(sizes)[:-1])
        after = rng.integers(0, 2**64, count, dtype=np.uint64)
        alike = rng.random((count, count)) < rng.uniform(0, 0.2)
        expected = {pair for group in groups for pair in plain(group.tolist(), after, alike)}
        found = candidates(
            *buckets(hashes, documents),
            lambda documents, after=after: after[documents],
            lambda left, right, alike=alike: alike[left, right].astype(int),
            1,
        )
        pairs = list(zip(*(each.tolist() for each in found), strict=True))
        assert len(pairs) == len(set(pairs)) and set(pairs) == expected
        left, right = distinct(*(np.concatenate([each, each]) for each in found))
        assert list(zip(left.tolist(), right.tolist(), strict=True)) == sorted(
            {(min(p), max(p)) for p in pairs}
        )


def test_members_of_a_bucket_come_by_priority_and_a_text_once():
    rng = np.random.default_rng(9)
    keys, bucket = rng.integers(0, 25, 60).astype(np.uint64), np.sort(rng.integers(0, 4, 60))
    lengths = (keys * np.uint64(7) % np.uint64(5)).astype(np.int64)  # equal texts are equally long
    columns = {"keys": keys, "lengths": lengths}
    stretches = SimpleNamespace(column=lambda name: SimpleNamespace(take=lambda rows: columns[name][rows]))
    documents, numbers = _by_priority(stretches, np.arange(60), bucket)
    expected = []
    for number in range(4):
        first = {}
        for document in np.flatnonzero(bucket == number).tolist():
            first.setdefault(int(keys[document]), document)
        expected += [(number, d) for d in sorted(first.values(), key=lambda d: (-lengths[d], keys[d]))]
    assert list(zip(numbers.tolist(), documents.tolist(), strict=True)) == expected
