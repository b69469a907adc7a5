"""What is said to a loss that can't be right."""

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.losses import (
    CheckedLoss,
    LogProbs,
    LossValue,
    cross_entropy_with,
    loss_named,
    weighted_cross_entropy,
)


def answer(of) -> LossValue:
    return CheckedLoss(of)(LogProbs(-torch.ones(3), torch.ones(3), torch.ones(3)), torch.ones(3), {})


@pytest.mark.parametrize("name", ["by_logit_sum", "by_entropy", "by_divergence"])
def test_a_derivative_by_what_the_loss_does_not_read_is_refused(name):
    def loss(lp, lse, weights):
        return weighted_cross_entropy(lp, lse, weights)._replace(**{name: torch.zeros_like(lp)})

    with pytest.raises(ConfigError, match=f"gives a derivative {name} but doesn't say that it reads"):
        answer(loss)
    assert answer(cross_entropy_with(50, label_smoothing=0.1)).by_logit_sum is not None


@pytest.mark.parametrize("name", ["by_log_prob", "by_logsumexp"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1)])
def test_a_derivative_that_is_not_a_number_a_token_is_refused(name, shape):
    def loss(lp, lse, weights):
        return weighted_cross_entropy(lp, lse, weights)._replace(**{name: torch.ones(shape)})

    with pytest.raises(
        ConfigError, match=rf"gives a derivative {name} of shape \[.*needed \[3\]: a number a token"
    ):
        answer(loss)


@pytest.mark.parametrize("seed", range(6))
def test_derivatives_are_those_of_autograd(seed):
    """Of every loss that has a name, by every number that it reads: plain ones, without a sign turned."""
    torch.manual_seed(seed)
    old = -torch.rand(8, dtype=torch.float64)
    data = {"old": old, "advantages": torch.randn(8, dtype=torch.float64)}
    pairs = {
        "sequences": torch.tensor([0, 0, 1, 1, 2, 2, 3, -1]),
        "reference": torch.randn(4, dtype=torch.float64),
        "total": 3.0,
    }
    smooth = loss_named("cross_entropy", vocabulary=11, label_smoothing=0.2, z_loss=0.1)
    for loss, more in (
        (loss_named("cross_entropy", vocabulary=11), {}),
        (smooth, {}),
        (loss_named("dpo", beta=0.4), pairs),
        (loss_named("clipped_ratio", clip=0.4), data),
        (loss_named("with_entropy", loss=smooth, bonus=0.3), {}),
        (loss_named("with_distillation", loss=loss_named("with_entropy", bonus=-0.2), share=0.3), {}),
    ):
        given = LogProbs(*torch.rand(5, 8, dtype=torch.float64))
        given = LogProbs(*((of - 1.5).requires_grad_() for of in given))
        found = CheckedLoss(loss)(given, torch.rand(8, dtype=torch.float64), more)
        wanted = torch.autograd.grad(found.value, given, allow_unused=True)
        for derivative, want in zip(found[1:6], wanted, strict=True):
            assert (derivative is None) == (want is None or not want.any())
            assert derivative is None or torch.allclose(derivative, want, rtol=1e-12, atol=1e-15)
