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


def test_some_rows_alone_are_a_smaller_adam_and_all_begin_anew():
    torch.manual_seed(1)
    settings = OptimizerSettings(betas=(0.9, 0.999), max_grad_norm=0.0)
    ends, body = nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(3, 5))
    kept = [each.detach().clone() for each in (ends, body)]
    slots = [
        Slot("ends", ends, torch.zeros(7, 5), (20, 5), (9, 0), ("pipeline", None)),
        Slot("body", body, torch.zeros(3, 5), (3, 5)),
    ]
    optimizer = Optimizer(slots, settings)
    new = [row - 9 for row in (10, 12, 15)]
    alone = nn.Parameter(kept[0][new].clone())
    for rows, trained in (({"ends": [2, 10, 12, 15, 19]}, [alone]), (None, [])):
        optimizer.train(rows)
        if rows is None:
            assert torch.equal(body, kept[1])
            assert torch.equal(ends[[0, 2, 4, 5]], kept[0][[0, 2, 4, 5]])
            torch.testing.assert_close(ends[new], alone.detach(), rtol=0, atol=1e-7)
            trained = [nn.Parameter(each.detach().clone()) for each in (ends, body)]
        adam = torch.optim.AdamW(trained, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
        for _ in range(4):
            for slot in slots:
                slot.gradient.copy_(torch.randn(slot.gradient.shape))
            given = [slot.gradient.clone() for slot in slots]
            optimizer.clear_frozen()
            wanted = given if rows is None else [given[0][new]]
            norm = sum(each.square().sum() for each in wanted)
            torch.testing.assert_close(optimizer.squared_norm(), norm.double(), rtol=1e-5, atol=0)
            for parameter, gradient in zip(trained, wanted, strict=True):
                parameter.grad = gradient
            optimizer.step(1e-2, 1.0)
            adam.step()
    for parameter, slot in zip(trained, slots, strict=True):
        torch.testing.assert_close(slot.parameter.detach(), parameter.detach(), rtol=0, atol=1e-7)


def test_learning_rates_at_their_corners():
    common = {"peak": 2.0, "warmup": 4, "steps": 20, "decay": 5, "minimum": 0.1}
    assert [learning_rate(s, schedule="constant", **common) for s in (0, 3, 4, 19)] == [0.5, 2.0, 2.0, 2.0]
    assert abs(learning_rate(20, schedule="cosine", **common) - 0.2) < 1e-12
    assert learning_rate(14, schedule="wsd", **common) == 2.0
    assert abs(learning_rate(20, schedule="wsd", **common) - 0.2) < 1e-12
