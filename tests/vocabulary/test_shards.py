import random
from bisect import bisect_right

import pytest
import torch

from pinisi.base.errors import ConfigError, DataError
from pinisi.vocabulary import Shards


@pytest.mark.parametrize("vocabulary,ranks", [(1, 1), (7, 3), (151_669, 5), (3, 5), (256_003, 16)])
def test_even_shards_cover_the_vocabulary_and_differ_by_one_row(vocabulary, ranks):
    shards = Shards.even(vocabulary, ranks)
    sizes = [shards.size(rank) for rank in range(ranks)]
    assert sum(sizes) == vocabulary == shards.vocabulary and max(sizes) - min(sizes) <= 1
    assert [row for rank in range(ranks) for row in shards.rows(rank)] == list(range(vocabulary))


@pytest.mark.parametrize("seed", range(20))
def test_weighted_sizes_are_within_one_row_of_their_share(seed):
    draws = random.Random(seed)
    vocabulary, weights = draws.randint(1, 5000), [draws.choice((0.0, draws.random(), 3.0)) for _ in range(6)]
    weights[draws.randrange(6)] = 1.7
    shards = Shards.weighted(vocabulary, weights)
    assert shards.vocabulary == vocabulary
    for rank, weight in enumerate(weights):
        share = vocabulary * weight / sum(weights)
        assert abs(shards.size(rank) - share) < 1 and (weight > 0 or shards.size(rank) == 0)


@pytest.mark.parametrize(
    "layers,head", [([8, 8, 8, 8], 4.0), ([9, 9, 8, 7], 5.5), ([10, 10, 10, 2], 4.0), ([3, 2], 30.0)]
)
def test_balanced_shards_even_out_ranks_as_far_as_rows_can(layers, head):
    vocabulary = 128_257
    shards = Shards.balanced(vocabulary, layers, head)
    cost = [n + head * shards.size(rank) / vocabulary for rank, n in enumerate(layers)]
    with_rows = [c for rank, c in enumerate(cost) if shards.size(rank)]
    if all(n <= (sum(layers) + head) / len(layers) for n in layers):
        assert max(cost) - min(cost) <= 2 * head / vocabulary
    else:
        assert max(with_rows) <= max(layers)  # a rank with too many layers gets no row at all
        assert all(shards.size(rank) == 0 for rank, n in enumerate(layers) if n == max(layers))


def test_owner_of_every_id_with_empty_shards_anywhere():
    shards = Shards((0, 0, 3, 3, 4, 11, 11))
    ids = torch.arange(11).reshape(1, 11)
    expected = [bisect_right(shards.offsets, token) - 1 for token in range(11)]
    assert shards.owner(ids).tolist() == [expected]
    assert all(token in shards.rows(int(shards.owner(torch.tensor(token)))) for token in range(11))
    assert Shards.from_list(shards.to_list()) == shards


@pytest.mark.parametrize("wrong", [11, -1, 2**40])
def test_an_id_outside_the_vocabulary_is_named_with_its_place(wrong):
    shards, ids = Shards.even(11, 3), torch.tensor([[3, 10], [wrong, 0]])
    with pytest.raises(DataError, match=rf"{wrong} at position \(1, 0\) .* 11 rows"):
        shards.owner(ids)
    with pytest.raises(DataError, match=rf"{wrong} at position 0 "):
        shards.owner(torch.tensor([wrong]))


def test_only_the_ignore_index_may_be_outside():
    shards = Shards.even(11, 3)
    shards.check(torch.tensor([0, -100, 10]), ignore_index=-100)
    with pytest.raises(DataError, match="-99"):
        shards.check(torch.tensor([0, -99]), ignore_index=-100)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shards((1, 4)),
        lambda: Shards((0, 4, 3)),
        lambda: Shards((0,)),
        lambda: Shards.weighted(10, [0, 0]),
        lambda: Shards.weighted(10, [1, -1]),
        lambda: Shards.weighted(0, [1]),
        lambda: Shards.balanced(10, [1, 1], 0.0),
    ],
)
def test_what_cannot_be_split_is_refused(make):
    with pytest.raises(ConfigError, match=r"got|Cannot split"):
        make()
