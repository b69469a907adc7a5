"""Rows of arrays in files, against one array; connected components, against plain sets."""

import numpy as np
import pytest

from pinisi.curate.duplicates import components, pieces
from pinisi.curate.duplicates.pieces import Pieces


@pytest.fixture(params=[0, 1000])
def few(request, monkeypatch):
    monkeypatch.setattr(pieces, "FEW", request.param)  # rows that are read without mapping their file


@pytest.mark.parametrize("shape", [(), (5,)])
def test_rows_of_files_are_those_of_one_array(tmp_path, few, shape):
    rng = np.random.default_rng(4)
    for round_ in range(8):
        counts = rng.integers(0, 9, rng.integers(1, 7))
        counts[rng.integers(len(counts))] += 1
        whole = rng.integers(0, 2**32, (counts.sum(), *shape), dtype=np.uint32)
        paths, parts = [], np.split(whole, np.cumsum(counts)[:-1])
        for number, part in enumerate(parts):
            paths.append(tmp_path / f"{shape}-{round_}-{number}.npy")
            np.save(paths[-1], part)
        for each in (Pieces(paths), Pieces(paths, counts.tolist()), Pieces(parts)):
            assert len(each) == len(whole)
            rows = rng.integers(0, len(whole), 31)
            np.testing.assert_array_equal(each.take(rows), whole[rows])
            assert each.take(rows[:0]).shape == (0, *shape)
            first, stop = sorted(rng.integers(0, len(whole) + 1, 2).tolist())
            blocks = list(each.blocks(first, stop, 3))
            assert all(len(block) <= 3 for _, block in blocks)
            rows = [at + n for at, block in blocks for n in range(len(block))]
            assert rows == list(range(first, stop))
            assert all((block == whole[at : at + len(block)]).all() for at, block in blocks)


def plain_components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    of = {n: {n} for n in range(count)}
    for left, right in pairs:
        together = of[left] | of[right]
        for member in together:
            of[member] = together
    return [min(of[n]) if len(of[n]) > 1 else components.ALONE for n in range(count)]


def test_components_are_those_of_plain_sets():
    rng = np.random.default_rng(8)
    for _ in range(60):
        count = int(rng.integers(2, 90))
        parent, pairs = np.full(count, components.ALONE), []
        for _ in range(3):  # joined in several calls
            left, right = rng.integers(0, count, (2, rng.integers(0, count // 2)))
            left, right = left[left != right], right[left != right]
            components.join(parent, left, right)
            pairs += zip(left.tolist(), right.tolist(), strict=True)
        values, members = rng.integers(0, 3 * count, count), rng.permutation(count)
        components.join_equal(parent, values, members)
        pairs += [
            (int(members[i]), int(members[j]))
            for i in range(count)
            for j in range(i)
            if values[i] == values[j]
        ]
        components.flatten(parent, most=7)
        assert parent.tolist() == plain_components(count, pairs)


def test_a_long_path_is_one_component():
    parent, order = np.full(500, components.ALONE), np.random.default_rng(1).permutation(499)
    for part in np.array_split(order, 7):
        components.join(parent, part, part + 1)
    components.flatten(parent)
    assert (parent == 0).all()
