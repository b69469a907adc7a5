"""Losses by name: found, set, added; what is wrong is said with the nearest name."""

import functools

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.losses import (
    LossValue,
    PairLoss,
    RegularizedCrossEntropy,
    clipped_ratio,
    data_names,
    dpo,
    loss_named,
    loss_names,
    loss_settings,
    register_loss,
    weighted_cross_entropy,
)


def test_names_give_the_losses_that_they_name():
    assert {"cross_entropy", "dpo", "clipped_ratio", "with_entropy", "with_distillation"} <= set(loss_names())
    assert loss_named("cross_entropy", vocabulary=7) is weighted_cross_entropy
    assert loss_named("cross_entropy", vocabulary=7, z_loss=0.1) == RegularizedCrossEntropy(7, 0.0, 0.1)
    assert loss_named("dpo", beta=0.3) == PairLoss(dpo, {"beta": 0.3})
    assert loss_named("clipped_ratio") is clipped_ratio
    bound = loss_named("clipped_ratio", clip=0.1)
    assert isinstance(bound, functools.partial) and bound.keywords == {"clip": 0.1}
    assert data_names(bound) == ("old", "advantages")


def test_users_add_their_own():
    @register_loss("mine")
    def mine(lp, lse, weights, *, old, sharpness=2.0):
        return LossValue(-(sharpness * lp).sum(), -sharpness * torch.ones_like(lp))

    assert "mine" in loss_names() and loss_settings("mine") == ["sharpness"]
    found = loss_named("mine", sharpness=3.0)(-torch.ones(2), torch.ones(2), torch.ones(2), old=0)
    assert found.value == 6.0 and data_names(loss_named("mine", sharpness=3.0)) == ("old",)
    with pytest.raises(ConfigError, match="there is a loss 'mine' already"):
        register_loss("mine")(clipped_ratio)
    with pytest.raises(ConfigError, match="no setting 'sharpnes'; the nearest is 'sharpness'"):
        loss_named("mine", sharpnes=3.0)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: loss_named("crossentropy"), "there is no loss 'crossentropy'; the nearest is 'cross_entropy', of"),
        (lambda: loss_named("dpo", betas=0.1), "no setting 'betas'; the nearest is 'beta'"),
        (lambda: loss_named("clipped_ratio", old=1.0), "no setting 'old'; the nearest is 'clip'"),
        (lambda: loss_named("cross_entropy", z_loss=0.1), "'cross_entropy' needs vocabulary: give a value"),
        (lambda: loss_named("dpo", beta=-1.0), "beta of a preference loss"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(call, said):
    with pytest.raises(ConfigError, match=said):
        call()
