"""Losses whose coefficient is known only after lp: through the split head, against autograd of the plain formula."""

import random
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pinisi.vocabulary import clipped_ratio, dpo

from .simulation import relative, run_plain, run_sharded
from .test_head import LIMIT, draw


def compare(case, shards, barriers, loss, of_lp, limit):
    got, want = run_sharded(case, shards, barriers, loss=loss), run_plain(case.to(torch.float64), of_lp=of_lp)
    assert abs(got.loss - want.loss) <= limit * abs(want.loss) + 1e-30
    assert relative(got.dx, want.dx) <= limit and relative(got.dw, want.dw) <= limit
    if case.bias is not None:
        assert relative(got.db, want.db) <= limit


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_dpo(seed, barriers, dtype):
    case, shards = draw(seed)
    draws, tokens = random.Random(seed), len(case.targets)
    pairs, beta, total = draws.randint(1, 3), draws.choice((0.1, 0.5)), 5.0
    torch.manual_seed(seed)
    sequences = torch.randint(-1, 2 * pairs, (tokens,))
    case.weights = torch.where(torch.rand(tokens) < 0.2, 0.0, case.weights)  # prompts
    counted = (case.weights != 0) & (sequences >= 0)
    sums = torch.zeros(2 * pairs, dtype=torch.float64)
    lp = run_plain(case).lp
    for i in range(2 * pairs):
        sums[i] = lp[counted & (sequences == i)].sum()
    reference = sums + torch.randn(2 * pairs)  # near the model's own, or the sigmoid says 0 or 1

    def plain(lp):
        value = 0.0
        for i in range(pairs):
            chosen = lp[counted & (sequences == 2 * i)].sum() - reference[2 * i]
            rejected = lp[counted & (sequences == 2 * i + 1)].sum() - reference[2 * i + 1]
            value = value - F.logsigmoid(beta * (chosen - rejected)) / total
        return value

    loss = partial(dpo, sequences=sequences, reference=reference, pairs=pairs, total_pairs=total, beta=beta)
    limit = {torch.float32: 1e-4}.get(dtype, LIMIT[dtype])  # reference sums of 1e3 are known to 1e-4 in fp32
    compare(case.to(dtype), shards, barriers, loss, plain, limit)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_clipped_ratio(seed, barriers, dtype):
    case, shards = draw(seed)
    torch.manual_seed(seed)
    tokens = len(case.targets)
    old = run_plain(case).lp + 0.3 * torch.randn(tokens, dtype=torch.float64)
    advantages = torch.randn(tokens, dtype=torch.float64)

    def plain(lp):
        ratio = torch.exp(lp - old)
        clipped = ratio.clamp(0.8, 1.2)
        return -(case.weights * torch.minimum(ratio * advantages, clipped * advantages)).sum()

    loss = partial(clipped_ratio, old=old, advantages=advantages)
    limit = {torch.float32: 5e-5}.get(dtype, LIMIT[dtype])  # lp - old cancels
    compare(case.to(dtype), shards, barriers, loss, plain, limit)


def test_clipped_tokens_have_no_gradient_but_where_they_got_worse():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1], dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0, 2.0], dtype=torch.float64)
    found = clipped_ratio(ratio.log(), ratio, torch.ones(5), old=torch.zeros(5), advantages=advantages)
    assert found.g.tolist() == pytest.approx([0, 0, -1.5, 0.5, 2.2])
    assert found.value.item() == pytest.approx(-(1.2 - 0.8 - 1.5 + 0.5 + 2.2))


def test_tokens_that_do_not_count_cannot_spoil_the_rest():
    lp = torch.tensor([-1.0, -torch.inf, -2.0])
    weights, old = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([-1.0, -torch.inf, -2.0])
    ratio = clipped_ratio(lp, lp, weights, old=old, advantages=torch.ones(3))
    pair = dpo(
        lp, lp, weights, sequences=torch.tensor([0, 0, 1]), reference=torch.zeros(2), pairs=1, total_pairs=1
    )
    for found in (ratio, pair):
        assert found.value.isfinite() and found.g[1] == 0 and found.g[0] > 0
