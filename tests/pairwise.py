"""Leaves a part of a test's cases that still has every pair of values of its parameters: the product runs in `make bench`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations

import pytest

FEW = 6  # cases of one test that all run; and of a draw, told by its parameter's name, the first so many
DRAW = "seed"


def chosen(cases: Sequence[Sequence[Hashable]]) -> list[int]:
    """Places of cases that together have every pair of values, of two different parameters, that stands in any case.

    Greedy: always the case with the most pairs that are still missing, of equals the first.
    Every value of every parameter is there, too. With one parameter, or few cases, all are chosen.
    """
    if len(cases) <= FEW or len(cases[0]) < 2:
        return list(range(len(cases)))
    pairs = [_pairs(case) for case in cases]
    missing = set().union(*pairs)
    found: list[int] = []
    while missing:
        best = max(range(len(cases)), key=lambda place: (len(pairs[place] & missing), -place))
        found.append(best)
        missing -= pairs[best]
    return sorted(found)


def _pairs(case: Sequence[Hashable]) -> set[Hashable]:
    return set(combinations(enumerate(case), 2))


def few_draws(cases: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The cases of one test with one of its first FEW seeds, or all where it has none."""
    seeds = list(dict.fromkeys(_seed(case) for case in cases))[:FEW]
    return [case for case in cases if _seed(case) in seeds]


def _seed(case: pytest.Item) -> Hashable:
    return getattr(getattr(case, "callspec", None), "params", {}).get(DRAW)


def split(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """(to run, left out), each in the given order. Each `parametrize` of a test is a parameter, its values told by their ids."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    run, left = [], []
    for whole in tests.values():
        cases = few_draws(whole)
        left += [item for item in whole if item not in cases]
        values = [tuple(getattr(getattr(item, "callspec", None), "_idlist", ())) for item in cases]
        places = set(chosen(values))
        for place, item in enumerate(cases):
            (run if place in places else left).append(item)
    return run, left
