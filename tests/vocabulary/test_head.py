"""S, T, combine and u over drawn cases, against plain PyTorch's cross-entropy and autograd in fp64."""

import math
import random

import pytest
import torch

from pinisi.vocabulary import Shards, token_weights

from .simulation import Case, relative, run_plain, run_sharded

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}
PRIMES = (7, 131, 509, 2053, 4099)


def draw(seed):
    """A case and its shards; sizes that divide nothing, everything optional now and then."""
    draws, torch_draws = random.Random(seed), torch.Generator().manual_seed(seed)
    vocabulary, tokens, hidden = draws.choice(PRIMES), draws.choice((1, 3, 29, 67)), draws.choice((5, 33, 61))

    def normal(*shape):
        return torch.randn(*shape, generator=torch_draws, dtype=torch.float64)

    targets = torch.randint(vocabulary, (tokens,), generator=torch_draws)
    if draws.random() < 0.5:
        targets[torch.rand(tokens, generator=torch_draws) < 0.3] = -100
    weights = torch.rand(tokens, generator=torch_draws, dtype=torch.float64) if draws.random() < 0.5 else None
    case = Case(
        normal(tokens, hidden),
        normal(vocabulary, hidden) * draws.choice((0.1, 1.0)),
        targets,
        token_weights(targets, weights, 17.0),
        bias=normal(vocabulary) if draws.random() < 0.5 else None,
        scale=draws.choice((1.0, 1.0, 0.37)),
        softcap=draws.choice((None, None, 3.0, 30.0)),
    )
    ranks = draws.randint(1, 5)
    shares = [draws.choice((0, 0, 1, 5, 9)) for _ in range(ranks)]
    shares[draws.randrange(ranks)] += 1
    uneven = draws.random() < 0.7
    return case, Shards.weighted(vocabulary, shares) if uneven else Shards.even(vocabulary, ranks)


def compare(case, got, limit):
    want = run_plain(case.to(torch.float64))
    assert relative(got.lp, want.lp) <= limit
    assert relative(got.dx, want.dx) <= limit
    assert relative(got.dw, want.dw) <= limit
    if case.bias is not None:
        assert relative(got.db, want.db) <= limit
    assert math.isclose(got.loss, want.loss, rel_tol=limit, abs_tol=1e-30)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_gradients_are_those_of_the_undivided_head(seed, barriers, dtype):
    case, shards = draw(seed)
    case = case.to(dtype)
    compare(case, run_sharded(case, shards, barriers), LIMIT[dtype])
