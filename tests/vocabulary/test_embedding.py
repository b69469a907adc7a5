import pytest
import torch
import torch.nn.functional as F

from pinisi.vocabulary import EmbeddingShard, Shards, owned_positions


@pytest.mark.parametrize(
    "dtype,limit", [(torch.float32, 1e-6), (torch.float64, 1e-14), (torch.bfloat16, 1e-6)]
)
@pytest.mark.parametrize("ranks,shares", [(1, [1]), (3, [1, 0, 2]), (5, [3, 1, 1, 0, 9])])
def test_lookup_and_gradient_are_those_of_the_undivided_embedding(ranks, shares, dtype, limit):
    torch.manual_seed(ranks)
    shards, hidden = Shards.weighted(31, shares), 7
    ids = torch.randint(31, (53,))  # repeats: gradients of one row must add up
    weight, upstream = torch.randn(31, hidden).to(dtype), torch.randn(53, hidden).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    gradient, embedded = torch.ones(31, hidden, dtype=wide), torch.zeros(53, hidden, dtype=dtype)
    rows_sent = 0
    for rank in range(ranks):
        rows = shards.rows(rank)
        own = slice(rows.start, rows.stop)
        shard = EmbeddingShard(weight[own], gradient[own], rows.start)
        positions = owned_positions(ids.reshape(1, 53), rows)
        found = shard.lookup(ids[positions])
        embedded[positions] = found
        rows_sent += len(found)
        shard.accumulate(ids[positions], upstream[positions])
    assert rows_sent == len(ids)

    reference = weight.double().requires_grad_()
    F.embedding(ids, reference).backward(upstream.double())
    assert torch.equal(embedded, F.embedding(ids, weight))
    assert (gradient.double() - 1 - reference.grad).norm() <= limit * reference.grad.norm()


def test_a_shard_that_owns_no_token_of_the_microbatch_sends_nothing():
    shard = EmbeddingShard(torch.randn(4, 3), torch.zeros(4, 3), 10)
    ids = torch.tensor([0, 9, 14])
    ids = ids[owned_positions(ids, shard.rows)]
    assert shard.lookup(ids).shape == (0, 3)
    shard.accumulate(ids, torch.empty(0, 3))
    assert not shard.gradient.any()
