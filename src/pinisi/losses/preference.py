"""Computes losses of pairs of answers, of which one is preferred: DPO, LR-DPO, LN-DPO and SimPO as formulas over pairs.

Σ is over an answer's tokens, Δ = Σ log p - Σ log p_reference, |y| the number of tokens.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

from pinisi.base.errors import ConfigError
from pinisi.losses.pairs import AnswerPairs, preference_loss


@preference_loss("dpo")
def dpo(pairs: AnswerPairs, beta: float = 0.1) -> Tensor:
    """-log σ(β·Δ_chosen - β·Δ_rejected): Rafailov et al., arXiv 2305.18290, equation 7."""
    _positive(beta=beta)
    return softplus(-beta * (pairs.chosen_gain - pairs.rejected_gain))


@preference_loss("lr_dpo")
def lr_dpo(pairs: AnswerPairs, beta: float = 0.1, alpha: float = 0.001) -> Tensor:
    """-log σ(β·Δ_chosen - β·Δ_rejected + α·|chosen| - α·|rejected|): length-regularised DPO (Park et al., arXiv 2403.19159;
    Sailor2, arXiv 2502.12982, section 5). A pair whose chosen answer is longer teaches less; α = 0 is DPO to the
    bit."""
    _positive(beta=beta)
    _finite(alpha=alpha)
    return softplus(-beta * (pairs.chosen_gain - pairs.rejected_gain) - alpha * pairs.added_tokens)


@preference_loss("ln_dpo", per_token=True)
def ln_dpo(pairs: AnswerPairs, beta: float = 0.1) -> Tensor:
    """-log σ(β·Δ_chosen / |chosen| - β·Δ_rejected / |rejected|): length-normalised DPO (Lambert et al., arXiv 2411.15124,
    section 5)."""
    _positive(beta=beta)
    mean = pairs.per_token()
    return softplus(-beta * (mean.chosen_gain - mean.rejected_gain))


@preference_loss("simpo", reference=False, per_token=True)
def simpo(pairs: AnswerPairs, beta: float = 2.0, gamma: float = 1.0) -> Tensor:
    """-log σ(β·Σ_chosen / |chosen| - β·Σ_rejected / |rejected| - γ), without a reference: Meng et al., arXiv 2405.14734, equation
    6."""
    _positive(beta=beta)
    _finite(gamma=gamma)
    mean = pairs.per_token()
    return softplus(-beta * (mean.chosen - mean.rejected) + gamma)


def _positive(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 < value < math.inf:
            raise ConfigError(
                f"{name} of a preference loss must be a finite number above 0, got {value}; give 0.1, for example."
            )


def _finite(**settings: float) -> None:
    for name, value in settings.items():
        if not math.isfinite(value):
            raise ConfigError(f"{name} of a preference loss must be a finite number, got {value}.")
