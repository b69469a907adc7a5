"""Losses of pairs by their formulas: published numbers, one that a user adds, and what is wrong with one."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.losses import AnswerPairs, loss_named, loss_settings, preference_loss, preference_losses
from pinisi.losses.loss import measures_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "ipo.py"
LIMIT = 1e-12


def one_pair(name: str, **settings: float):
    """A pair of 20 and 5 tokens whose sums are -30 and -12, the reference's -32 and -13, behind a prompt."""
    sequences = torch.tensor([-1, *[0] * 20, *[1] * 5])
    lp = torch.tensor([-7.0, *[-1.5] * 20, *[-2.4] * 5], dtype=torch.float64)
    weights = (sequences >= 0).double()
    reference = torch.tensor([-32.0, -13.0], dtype=torch.float64)
    return loss_named(name, **settings)(lp, lp, weights, sequences=sequences, reference=reference, total=1.0)


@pytest.mark.parametrize(
    ("name", "settings", "wanted"),
    [
        ("dpo", {"beta": 0.1}, 0.6443966600735709),
        ("lr_dpo", {"beta": 0.1, "alpha": 0.01}, 0.5759394198788436),
        ("ln_dpo", {"beta": 0.1}, 0.6981596805078624),
        ("simpo", {"beta": 2.0, "gamma": 1.0}, 0.3711006659477778),
        ("ipo", {"beta": 0.1}, 16.0),
    ],
)
def test_known_values(name, settings, wanted) -> None:
    if name == "ipo":
        runpy.run_path(str(EXAMPLE))
    assert one_pair(name, **settings).value.item() == pytest.approx(wanted, rel=LIMIT, abs=0)


def test_no_weight_of_length_is_dpo_to_the_bit() -> None:
    torch.manual_seed(1)
    for dtype in (torch.float32, torch.float64):
        lp = -torch.rand(600, dtype=dtype) * 9
        sequences = torch.randint(0, 8, (600,))
        given = {"sequences": sequences, "reference": -torch.rand(8, dtype=torch.float64) * 700, "total": 4.0}
        for beta in (0.01, 0.1, 0.7):
            both = (loss_named("dpo", beta=beta), loss_named("lr_dpo", beta=beta, alpha=0.0))
            ours, theirs = (loss(lp, lp, torch.ones(600), **given) for loss in both)
            assert torch.equal(ours.value, theirs.value)
            assert torch.equal(ours.by_log_prob, theirs.by_log_prob)


def test_measures_of_a_pair() -> None:
    def of(name: str) -> dict[str, float]:
        return dict(zip(measures_of(loss_named(name)), one_pair(name).measured.tolist(), strict=True))

    same = {"chosen_log_ratio": 2.0, "rejected_log_ratio": 1.0, "chosen_tokens": 20, "rejected_tokens": 5}
    assert of("dpo") == of("lr_dpo") == pytest.approx({"margin": 1, "accuracy": 1, **same, "kl": 3 / 25})
    assert of("ln_dpo") == pytest.approx({"margin": 0.1 - 0.2, "accuracy": 0, **same, "kl": 3 / 25})
    simpo = of("simpo")
    assert simpo["margin"] == pytest.approx(-1.5 + 2.4) and simpo["accuracy"] == 1


def test_a_formula_of_ones_own() -> None:

    @preference_loss("hinge")
    def hinge(pairs: AnswerPairs, beta: float = 0.5) -> torch.Tensor:
        return torch.relu(3 - beta * (pairs.chosen_gain - pairs.rejected_gain))

    assert "hinge" in preference_losses() and loss_settings("hinge") == ["beta"]
    found = one_pair("hinge", beta=2.0)
    assert found.value == 1.0
    assert found.by_log_prob.tolist() == [0.0, *[-2.0] * 20, *[2.0] * 5]
    with pytest.raises(ConfigError, match="no setting 'bta'; the nearest is 'beta'"):
        loss_named("hinge", bta=1.0)
    with pytest.raises(ConfigError, match="there is a loss 'dpo' already"):
        preference_loss("dpo")(hinge)


def test_a_formula_that_is_none_is_refused_at_once() -> None:
    wrong = {
        "whole": lambda pairs: (pairs.chosen - pairs.rejected).sum(),
        "number": lambda pairs: 3.0,
        "constant": lambda pairs: torch.zeros(2),
    }
    for name, formula in wrong.items():
        preference_loss(name)(formula)
        with pytest.raises(ConfigError, match="of two pairs: return one number a pair"):
            loss_named(name)
    for name, key in (("lr_dpo", "alpha"), ("simpo", "gamma")):
        with pytest.raises(ConfigError, match=f"{key} of a preference loss must be a finite number, got nan"):
            loss_named(name, **{key: float("nan")})
