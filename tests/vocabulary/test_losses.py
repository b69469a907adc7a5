import pytest
import torch
import torch.nn.functional as F

from pinisi.errors import DataError
from pinisi.vocabulary import LossValue, Shards, token_weights, weighted_cross_entropy

from .simulation import Case, relative, run_sharded


def test_cross_entropy_value_and_coefficient():
    lp = torch.tensor([-1.0, -2.0, 0.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.25, 0.5, 0.0], dtype=torch.float64)
    value, g = weighted_cross_entropy(lp, lp, weights)
    value.backward()
    assert value.item() == 1.25 and torch.equal(lp.grad, -g)


def test_weightless_tokens_cannot_spoil_the_value():
    value, g = weighted_cross_entropy(
        torch.tensor([-torch.inf, -1.0]), torch.zeros(2), torch.tensor([0.0, 1.0])
    )
    assert value == 1.0 and g.tolist() == [0.0, 1.0]


def test_token_weights_share_the_total_and_skip_ignored_tokens():
    targets = torch.tensor([[4, -100], [0, 2]])
    assert token_weights(targets, None, 4.0).tolist() == [[0.25, 0.0], [0.25, 0.25]]
    assert token_weights(targets, torch.tensor([[1.0, 9.0], [0.0, 3.0]]), 4.0).tolist() == [
        [0.25, 0],
        [0, 0.75],
    ]


@pytest.mark.parametrize("total", [0, -1.0, float("nan")])
def test_a_step_without_a_target_is_refused(total):
    with pytest.raises(DataError, match="nothing to learn"):
        token_weights(torch.tensor([-100, -100]), None, total)


@pytest.mark.parametrize("barriers", [1, 2])
def test_a_coefficient_known_only_after_lp(barriers):
    """-log sigmoid(sum of lp of the first half - sum of the second), as preference losses have it."""

    def preference(lp, lse, weights):
        sign = weights.to(lp.dtype)
        margin = (sign * lp).sum()
        return LossValue(-F.logsigmoid(margin), sign * torch.sigmoid(-margin))

    torch.manual_seed(1)
    sign = torch.tensor([1.0] * 5 + [-1.0] * 6)
    x, weight = torch.randn(11, 13, dtype=torch.float64), torch.randn(101, 13, dtype=torch.float64)
    case = Case(x, weight, torch.randint(101, (11,)), sign)
    got = run_sharded(case, Shards.even(101, 3), barriers, loss=preference)
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    lp = -F.cross_entropy(x @ weight.T, case.targets, reduction="none")
    (-F.logsigmoid((sign * lp).sum())).backward()
    assert relative(got.dx, x.grad) <= 1e-11 and relative(got.dw, weight.grad) <= 1e-11
