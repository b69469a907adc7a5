"""Losses: small functions from log-probabilities to a value and its derivatives per token.

The head gives every rank lp [T] and lse [T]; a loss answers with its value and g = -dL/dlp [T], from which
the head makes all gradients. g may depend on any lp, so a coefficient known only after lp (one per sequence,
a ratio of probabilities: see `preference_losses`) fits the same form, with one barrier. A loss that depends on
lse by itself gives k = dL/dlse, too, and one that depends on the sum of a token's logits e = dL/d(Σ_v l_v).
"""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.ids import IGNORE

TOTAL = "total"  # the parameter by which a loss gets the step's total
DISTRIBUTION = ("entropy", "divergence")  # what the head gives by name


class LossValue(NamedTuple):
    """value: this microbatch's part of the step's loss, a scalar. With lp, lse and Σ_v l_v taken for independent:
    g [T] = -d value / d lp, k [T] = d value / d lse, e [T] = d value / d Σ_v l_v; 0 at ignored tokens, None: 0 everywhere.
    Of losses that read entropy or divergence also n [T] = d value / d entropy, d [T] = d value / d divergence.
    """

    value: Tensor
    g: Tensor
    k: Tensor | None = None
    e: Tensor | None = None
    n: Tensor | None = None
    d: Tensor | None = None


class Loss(Protocol):
    """lp, lse, weights: [T] each, the same on every rank, and so must be the answer.

    A loss with an attribute `logit_sum` that is true gets Σ_v l_v [T] as a fourth argument. Keyword-only parameters without
    a default name the data that it reads from the batch (`data_names`), one value a token [T] or a vector of the whole
    microbatch; one called `total` gets what the step's weights were divided by. That is the sum of weights over the whole
    step, or of `count(weights [T], **data)` over its microbatches where the loss has such a method. `entropy` [T] and
    `divergence` [T] among them come from the head (see `distribution`). A loss that wraps another names what it reads in an
    attribute `reads` instead.
    """

    def __call__(self, lp: Tensor, lse: Tensor, weights: Tensor, *more: Any, **data: Any) -> LossValue: ...


def reads_logit_sum(loss: Loss) -> bool:
    return bool(getattr(loss, "logit_sum", False))


def data_names(loss: Loss) -> tuple[str, ...]:
    """What a loss reads from the batch by name."""
    return tuple(name for name in parameters_of(loss) if name not in (TOTAL, *DISTRIBUTION))


def reads_total(loss: Loss) -> bool:
    return TOTAL in parameters_of(loss)


def reads_of_distribution(loss: Loss) -> tuple[str, ...]:
    """Which of entropy and divergence."""
    return tuple(name for name in parameters_of(loss) if name in DISTRIBUTION)


def parameters_of(loss: Loss) -> tuple[str, ...]:
    """The keyword-only parameters that have no default and aren't bound yet, or what `reads` says."""
    said = getattr(loss, "reads", None)
    if said is not None:
        return tuple(said)
    parameters = inspect.signature(loss).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty)


def token_weights(targets: Tensor, weights: Tensor | None, total: float) -> Tensor:
    """weights (1 if None) / total, 0 at ignored tokens, in the shape of `targets`, fp32 (or the weights'
    fp64).

    total: the sum of the weights of every token of the whole step, over microbatches and data ranks.
    """
    if not total > 0:
        raise DataError(
            f"The weights of this step's tokens sum to {total}, so there is nothing to learn from: needed at "
            f"least one target that is not {IGNORE}; check the masks of the data."
        )
    if weights is None:
        weights = torch.ones(targets.shape, dtype=torch.float32, device=targets.device)
    if weights.dtype != torch.float64:
        weights = weights.float()
    return torch.where(targets != IGNORE, weights / total, 0.0)


def weighted_cross_entropy(lp: Tensor, lse: Tensor, weights: Tensor, *more: Tensor) -> LossValue:
    """-Σ w·lp. `weights` hold the normalisation already (see `token_weights`)."""
    g = weights.to(lp.dtype)
    return LossValue(-torch.where(g != 0, g * lp, 0.0).sum(), g)


@dataclass(frozen=True)
class RegularizedCrossEntropy:
    """Σ w·(-(1 - ε)·lp - ε·mean_v log p_v + λ·lse²), the mean over the whole vocabulary.

    label_smoothing ε: Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, section 7.
    z_loss λ: Chowdhery et al., "PaLM", arXiv 2204.02311, section 5, which takes 1e-4. vocabulary: V.
    """

    vocabulary: int
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.label_smoothing < 1 and 0 <= self.z_loss < float("inf")):
            raise ConfigError(
                f"label_smoothing must be from 0 to below 1 and z_loss at least 0 and finite, got {self.label_smoothing} "
                f"and {self.z_loss}; give 0.1 and 1e-4, for example, or 0 for neither."
            )
        if not self.vocabulary >= 1:
            raise ConfigError(
                f"vocabulary of RegularizedCrossEntropy must be at least 1, got {self.vocabulary}; give the number of "
                "rows of the whole head."
            )

    @property
    def logit_sum(self) -> bool:
        return self.label_smoothing > 0

    def __call__(self, lp: Tensor, lse: Tensor, weights: Tensor, *more: Tensor) -> LossValue:
        w = weights.to(lp.dtype)
        smooth = self.label_smoothing
        each = -(1 - smooth) * lp + self.z_loss * lse.square()
        k = 2 * self.z_loss * lse
        e = None
        if smooth:
            (logit_sum,) = more
            each = each + smooth * (lse - logit_sum / self.vocabulary)
            k = k + smooth
            e = w * (-smooth / self.vocabulary)
        value = torch.where(w != 0, w * each, 0.0).sum()
        return LossValue(value, (1 - smooth) * w, torch.where(w != 0, w * k, 0.0), e)


def cross_entropy_with(vocabulary: int, label_smoothing: float = 0.0, z_loss: float = 0.0) -> Loss:
    """Cross-entropy with what is above 0 of label smoothing and z-loss."""
    if label_smoothing or z_loss:
        return RegularizedCrossEntropy(vocabulary, label_smoothing, z_loss)
    return weighted_cross_entropy
