"""AdamW on master weights against torch's own on fp32 copies."""

from __future__ import annotations

import torch
from torch import nn

from pinisi.engine.optimizer import Optimizer, Slot, learning_rate
from pinisi.engine.settings import OptimizerSettings


def test_16_bit_weights_follow_fp32_masters_through_updates_too_small_for_16_bit():
    torch.manual_seed(0)
    start = torch.randn(7, 5).to(torch.bfloat16)
    parameter = nn.Parameter(start.clone())
    gradient = torch.zeros(7, 5)
    optimizer = Optimizer([Slot("w", parameter, gradient, (7, 5))], OptimizerSettings(max_grad_norm=0.0))
    reference = nn.Parameter(start.float())
    adam = torch.optim.AdamW([reference], lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for _ in range(300):
        found = torch.randn(7, 5) + 0.5
        gradient.copy_(found)
        reference.grad = found.clone()
        optimizer.step(1e-4, 1.0)
        adam.step()
    assert (reference - start.float()).abs().max() > 1e-2
    assert torch.equal(parameter, reference.detach().to(torch.bfloat16))
    assert torch.equal(optimizer.masters[0], reference.detach())


def test_learning_rates_at_their_corners():
    common = {"peak": 2.0, "warmup": 4, "steps": 20, "decay": 5, "minimum": 0.1}
    assert [learning_rate(s, schedule="constant", **common) for s in (0, 3, 4, 19)] == [0.5, 2.0, 2.0, 2.0]
    assert abs(learning_rate(20, schedule="cosine", **common) - 0.2) < 1e-12
    assert learning_rate(14, schedule="wsd", **common) == 2.0
    assert abs(learning_rate(20, schedule="wsd", **common) - 0.2) < 1e-12
