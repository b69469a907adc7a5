"""AdamW with moments in bfloat16 against torch's own whose moments are rounded by hand after each step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pinisi.base.errors import ConfigError
from pinisi.base.rounding import LARGEST_BETA
from pinisi.engine import optimizer as module
from pinisi.engine.optimizer import MOMENTS, Optimizer, Slot
from pinisi.engine.settings import OptimizerSettings

SHAPES = [(7, 5), (3,), (), (2, 3, 4), (0, 4)]


def optimizer_of(moments: torch.dtype | None, dtype: torch.dtype = torch.float32) -> Optimizer:
    random = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=random).to(dtype)) for shape in SHAPES]
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    slots = [
        Slot(f"w{k}", p, torch.zeros(p.shape, dtype=wide), tuple(p.shape)) for k, p in enumerate(parameters)
    ]
    return Optimizer(slots, OptimizerSettings(max_grad_norm=0.5, moments=moments))


def step(optimizer: Optimizer, number: int) -> None:
    random = torch.Generator().manual_seed(100 + number)
    for slot in optimizer.slots:
        slot.gradient.copy_(torch.randn(slot.gradient.shape, generator=random) * 10.0 ** (number % 4 - 2))
    optimizer.step(1e-2, 3.0)


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(module, "PART", 10)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_moments_are_rounded_where_they_are_kept_and_nowhere_else(dtype):
    mine, reference = optimizer_of(torch.bfloat16, dtype), optimizer_of(None, dtype)
    for number in range(12):
        step(mine, number)
        step(reference, number)
        assert reference.adam is not None
        for kept in reference.adam.state.values():
            for name in MOMENTS:
                kept[name] = kept[name].bfloat16().to(kept[name].dtype)
        for a, b in zip(mine.state(), reference.state(), strict=True):
            assert torch.equal(a["weight"], b["weight"])
            assert a.keys() == b.keys()
            for name in a.keys() - {"weight"}:
                assert a[name].dtype is torch.bfloat16
                assert torch.equal(a[name].to(b[name].dtype), b[name])
        for a, b in zip(mine.slots, reference.slots, strict=True):
            assert torch.equal(a.parameter, b.parameter)


@pytest.mark.usefixtures("in_parts")
def test_saved_and_restored_to_the_bit():
    unbroken, first, second = (optimizer_of(torch.bfloat16) for _ in range(3))
    for number in range(6):
        step(unbroken, number)
    for number in range(3):
        step(first, number)
    second.restore([{k: t.clone() for k, t in kept.items()} for kept in first.state()], 3)
    for number in range(3, 6):
        step(second, number)
    for a, b in zip(unbroken.state(), second.state(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype is b[k].dtype for k in a)


def test_they_take_half_the_bytes():
    whole, half = optimizer_of(None), optimizer_of(torch.bfloat16)
    sizes = []
    for optimizer in (whole, half):
        step(optimizer, 0)
        sizes.append(sum(kept[k].nbytes for kept in optimizer.state() for k in MOMENTS if k in kept))
    assert sizes[0] == 2 * sizes[1] > 0


@pytest.mark.parametrize(("beta", "decays"), [(LARGEST_BETA, True), (0.999, False)])
def test_why_larger_betas_are_refused(beta, decays):
    """Of a second moment that gets nothing more, rounded after every step."""
    for start in torch.linspace(1, 2, 17).tolist():
        moment = torch.tensor(start).bfloat16()
        for _ in range(400):
            moment = (moment.float() * beta).bfloat16()
        assert bool(moment < 0.05) is decays, start


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.95)])
def test_betas_that_bfloat16_cant_follow_are_refused(betas):
    OptimizerSettings(betas=betas)
    with pytest.raises(ConfigError, match=f"betas of at most {LARGEST_BETA}"):
        OptimizerSettings(betas=betas, moments=torch.bfloat16)
