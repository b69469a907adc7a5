"""Splits against exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ConfigError
from pinisi.costs import even_layers, megatron_layers, placed_layers, redistributed_layers, rows_for
from pinisi.schedule import layout_of


def all_splits(layers: int, stages: int):
    """Every contiguous split whose inner stages have layers."""
    for cuts in combinations(range(layers + stages - 1), stages - 1):
        bounds = [0, *(cut - at for at, cut in enumerate(cuts)), layers]
        sizes = [b - a for a, b in pairwise(bounds)]
        if all(sizes[1:-1]):
            yield sizes


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.3, 3), min_size=3, max_size=9),
    st.integers(2, 5),
    st.floats(0, 2),
    st.floats(0, 9),
)
def test_redistribution_has_the_least_maximum(layer, stages, first, last) -> None:
    if len(layer) < stages:
        return

    def slowest(sizes: list[int]) -> float:
        bounds, at = [], 0
        for stage, size in enumerate(sizes):
            extra = (first if stage == 0 else 0) + (last if stage == stages - 1 else 0)
            bounds.append(sum(layer[at : at + size]) + extra)
            at += size
        return max(bounds)

    sizes = redistributed_layers(layer, stages, first, last)
    assert sum(sizes) == len(layer) and len(sizes) == stages and min(sizes) >= 0
    assert slowest(sizes) == pytest.approx(min(slowest(s) for s in all_splits(len(layer), stages)))


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["1f1b", "v-half", "interleaved-1f1b"]),
    st.integers(2, 3),
    st.integers(0, 6),
    st.floats(0.5, 2),
    st.floats(0.01, 2),
    st.floats(0.01, 9),
    st.booleans(),
)
def test_no_split_of_a_placement_is_better(name, ranks, more, layer, first, last, ends) -> None:
    placement = layout_of(name, ranks).stages
    stages = sum(map(len, placement))
    layers = stages + more
    extra = {0: first, stages - 1: last} if ends else {}

    def loads(sizes: Sequence[int]) -> list[float]:
        return [sum(sizes[s] * layer + extra.get(s, 0.0) for s in held) for held in placement]

    found = placed_layers(layers, placement, layer, extra)
    every = [s for s in all_splits(layers, stages) if ends or all(s)]
    assert found in every
    assert max(loads(found)) == pytest.approx(min(max(loads(s)) for s in every))
    if name == "1f1b" and ends:
        assert max(loads(found)) == pytest.approx(
            max(loads(redistributed_layers([layer] * layers, stages, first, last)))
        )


def test_the_longer_stages_come_later() -> None:
    stages = layout_of("1f1b", 8).stages
    assert placed_layers(61, stages, 1.0, {}) == [7, 7, 7, 8, 8, 8, 8, 8]
    assert placed_layers(64, stages, 1.0, {}) == [8] * 8
    with pytest.raises(ConfigError, match="too few"):
        placed_layers(7, stages, 1.0, {})


@pytest.mark.parametrize(
    ("layers", "stages", "head", "sizes"),
    [
        # a head of 6.25 layers leaves the last stage none, and the longer stages come later
        (32, 8, 6.25, [4, 4, 4, 5, 5, 5, 5, 0]),
        (32, 8, 1.5625, [4, 4, 4, 4, 4, 4, 5, 3]),
        (32, 8, 0.78, [4] * 8),
        (7, 1, 3.0, [7]),
    ],
)
def test_redistribution_of_known_cases(layers: int, stages: int, head: float, sizes: list[int]) -> None:
    found = redistributed_layers([1.0] * layers, stages, 0.0, head)
    assert max(found[:-1], default=0) <= max(sizes) and found[-1] == sizes[-1]
    assert sorted(found[:-1]) == sorted(sizes[:-1]) and found[:-1] == sorted(found[:-1])


def test_even_and_megatron() -> None:
    assert even_layers(61, 8) == [8, 8, 8, 8, 8, 7, 7, 7]
    assert megatron_layers(62, 8) == [7, 8, 8, 8, 8, 8, 8, 7]
    assert megatron_layers(63, 8, embedding=False) == [8, 8, 8, 8, 8, 8, 8, 7]
    assert megatron_layers(64, 8, embedding=False, loss=False) == [8] * 8
    with pytest.raises(ConfigError, match=r"make 66, which 8 stages don't divide"):
        megatron_layers(64, 8)
    with pytest.raises(ConfigError, match="too few"):
        even_layers(3, 4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.floats(0.01, 30), st.integers(1, 300000))
def test_rows_even_out_the_ranks(seconds, head, vocabulary) -> None:
    rows = rows_for(seconds, head, vocabulary)
    assert sum(rows) == vocabulary and min(rows) >= 0
    total = [s + head * n / vocabulary for s, n in zip(seconds, rows, strict=True)]
    row = head / vocabulary  # what one row costs: the sizes are whole
    with_rows = [t for t, n in zip(total, rows, strict=True) if n > 1]
    assert max(with_rows, default=0) <= min(total) + 2.01 * row * len(seconds)


def test_rows_of_61_layers_on_8_ranks() -> None:
    # five ranks have 8 layers and three 7: with a head of 6 layers each rank does 67/8
    rows = rows_for([8.0] * 5 + [7.0] * 3, 6.0, 151_936)
    busy = [n + 6 * r / 151_936 for n, r in zip([8] * 5 + [7] * 3, rows, strict=True)]
    assert max(busy) == pytest.approx(67 / 8, abs=1e-4) and min(busy) == pytest.approx(67 / 8, abs=1e-4)
    with pytest.raises(ConfigError):
        rows_for([1.0], 0.0, 5)
