"""Lookups against dictionaries."""

import numpy as np
import pytest

from pinisi.curate.packs.ngrams import UNIT, NGrams
from pinisi.curate.packs.stream import BOUNDARY, keys, run_hashes, windows
from pinisi.curate.packs.table import Table, _Index


@pytest.mark.parametrize("count", [1, 2, 5, 1000, 30_011])
def test_index_finds_each_key_and_no_other(count):
    draw = np.random.default_rng(count)
    distinct = np.unique(np.append(draw.integers(0, 2**32, count, dtype=np.uint32), np.uint32(0)))
    wanted = draw.permutation(np.concatenate([distinct, draw.integers(0, 2**32, 2 * count, dtype=np.uint32)]))
    expected = {key: row for row, key in enumerate(distinct.tolist())}
    rows = _Index(distinct).rows(wanted)
    assert rows.tolist() == [expected.get(key, len(distinct)) for key in wanted.tolist()]


def test_index_without_key_0_does_not_find_it():
    distinct = np.array([7, 2**31, 2**32 - 1], np.uint32)
    assert _Index(distinct).rows(np.array([0, 7, 1], np.uint32)).tolist() == [3, 0, 3]


def test_index_of_keys_that_all_want_one_slot():
    distinct = np.arange(0, 40, dtype=np.uint32)  # one slot by their high bits
    assert _Index(distinct).rows(distinct).tolist() == list(range(40))


def test_likelihoods_are_sums_of_weights_over_models():
    draw = np.random.default_rng(5)
    lines = [
        np.array([BOUNDARY, *draw.integers(97, 103, 9), BOUNDARY, 98, 99, BOUNDARY], np.uint32)
        for _ in range(30)
    ]
    found = np.unique(np.concatenate([keys(hashes) for line in lines for _, hashes in windows(line)]))
    runs = np.unique(np.concatenate([keys(run_hashes(line)[1]) for line in lines]))
    models = []
    for number in range(3):
        own = np.unique(np.concatenate([draw.choice(found, len(found) // 2), draw.choice(runs, 9)]))
        weights = draw.integers(-9000, 9000, len(own)).astype(np.int16)
        models.append(NGrams(own, weights, -7.5 - number, -0.25 * number))
    table, capped = Table(models), Table(models, unknown=-3.0)
    for line in lines:
        for column, model in enumerate(models):
            expected = {None: slow(model, line, model.unknown), -3.0: slow(model, line, -3.0)}
            assert table.log_likelihood(line)[column] == pytest.approx(expected[None], abs=1e-3)
            assert capped.log_likelihood(line)[column] == pytest.approx(expected[-3.0], abs=1e-3)


def slow(model, line, unknown):
    known = dict(zip(model.keys.tolist(), (model.weights / UNIT).tolist(), strict=True))
    total = 0.0
    for n, (_, hashes) in enumerate(windows(line), 1):
        total += sum(known.get(key, unknown if n == 1 else 0.0) for key in keys(hashes).tolist())
    return total + sum(known.get(key, model.other_run) for key in keys(run_hashes(line)[1]).tolist())


def test_an_empty_stream_has_probability_one():
    model = NGrams(np.array([3], np.uint32), np.array([5], np.int16), -9.0, -1.0)
    assert Table([model, model]).log_likelihood(np.array([BOUNDARY], np.uint32)).tolist() == [0.0, 0.0]
