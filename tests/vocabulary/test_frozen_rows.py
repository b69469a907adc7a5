"""Rows of head and embedding that don't learn: the same dX as of rows that do, and nothing kept."""

from __future__ import annotations

import pytest
import torch

from pinisi.losses import LossValue
from pinisi.vocabulary import EmbeddingShard, HeadShard
from pinisi.vocabulary.tiles import Curve


@pytest.mark.parametrize("budget", [None, 0, 3000])
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("softcap", [None, 4.0])
def test_dx_is_that_of_rows_that_learn(barriers, softcap, budget):
    draw = torch.Generator().manual_seed(4)
    x, weight = (torch.randn(n, 12, generator=draw, dtype=torch.float64) for n in (31, 127))
    targets = torch.randint(0, 127, (31,), generator=draw)
    targets[::5] = -100
    found = []
    for gradient in (torch.zeros_like(weight), None):
        head = HeadShard(weight, gradient, 0, curve=Curve(0.7, softcap), barriers=barriers, budget=budget)
        for _ in range(2):
            step = head.s(x, targets)
            seen = head.combine(step, step.statistics[None])
            loss = LossValue(-seen.lp.sum(), -torch.ones_like(seen.lp))
            u = head.u(step, loss) if barriers == 1 else None
            t = head.t(step, loss)
            assert step.buffer is None and not step.tiles, "what S kept is still there"
        found.append(u if barriers == 1 else t)
        assert (t is None) == (barriers == 1)
    assert torch.equal(*found)


def test_an_embedding_that_does_not_learn_takes_no_gradient():
    weight = torch.randn(7, 3)
    shard = EmbeddingShard(weight, None, 10)
    before = weight.clone()
    shard.accumulate(torch.tensor([10, 12]), torch.ones(2, 3))
    assert torch.equal(shard.lookup(torch.tensor([11])), before[1:2]) and torch.equal(weight, before)
