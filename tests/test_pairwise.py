"""The cases that `make test` runs of a product have every pair of values."""

from itertools import combinations, product
from types import SimpleNamespace

import pytest

from .pairwise import FEW, chosen, few_draws


@pytest.mark.parametrize("sizes", [(2, 3), (2, 3, 4), (5, 2, 2, 3), (3, 3, 3, 3)])
def test_every_pair_of_values_is_there_and_many_cases_are_not(sizes) -> None:
    cases = list(product(*(range(size) for size in sizes)))
    cases = [case for case in cases if sum(case) != 1] if len(sizes) > 3 else cases  # a product with gaps
    found = [cases[place] for place in chosen(cases)]
    for one, two in combinations(range(len(sizes)), 2):
        assert {(case[one], case[two]) for case in found} == {(case[one], case[two]) for case in cases}
    largest = sorted(sizes)[-2:]
    assert len(found) <= 2 * largest[0] * largest[1]
    assert len(sizes) < 3 or len(found) < len(cases) / 1.5


def test_one_parameter_and_few_cases_run_whole() -> None:
    assert chosen([(value,) for value in range(50)]) == list(range(50))
    assert chosen(list(product(range(3), range(2)))) == list(range(6))


def test_of_draws_the_first_run_and_of_other_parameters_all() -> None:
    def case(**params: int) -> SimpleNamespace:
        return SimpleNamespace(callspec=SimpleNamespace(params=params))

    draws = [case(seed=seed, size=size) for size in (1, 2) for seed in range(100, 100 + 2 * FEW)]
    assert {each.callspec.params["seed"] for each in few_draws(draws)} == set(range(100, 100 + FEW))
    assert len(few_draws(draws)) == 2 * FEW
    others = [case(size=size) for size in range(50)]
    assert few_draws(others) == others and few_draws([SimpleNamespace()]) == [SimpleNamespace()]
