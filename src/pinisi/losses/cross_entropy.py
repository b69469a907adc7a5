"""Computes the cross-entropy of weighted tokens, with label smoothing and z-loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.ids import IGNORE
from pinisi.losses.loss import Loss, LossValue
from pinisi.losses.registry import register_loss


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


def weighted_cross_entropy(lp: Tensor, lse: Tensor, weights: Tensor) -> LossValue:
    """-Σ w·lp. `weights` hold the normalisation already (see `token_weights`)."""
    by_log_prob = -weights.to(lp.dtype)
    return LossValue(torch.where(by_log_prob != 0, by_log_prob * lp, 0.0).sum(), by_log_prob)


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
    def reads(self) -> tuple[str, ...]:
        return ("logit_sum",) if self.label_smoothing else ()

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, logit_sum: Tensor | None = None
    ) -> LossValue:
        w = weights.to(lp.dtype)
        smooth = self.label_smoothing
        each = -(1 - smooth) * lp + self.z_loss * lse.square()
        slope = 2 * self.z_loss * lse
        by_logit_sum = None
        if smooth:
            assert logit_sum is not None, "label smoothing reads the logits' sum"
            each = each + smooth * (lse - logit_sum / self.vocabulary)
            slope = slope + smooth
            by_logit_sum = w * (-smooth / self.vocabulary)
        value = torch.where(w != 0, w * each, 0.0).sum()
        return LossValue(value, (smooth - 1) * w, torch.where(w != 0, w * slope, 0.0), by_logit_sum)


@register_loss("cross_entropy", makes=True)
def cross_entropy_with(vocabulary: int, label_smoothing: float = 0.0, z_loss: float = 0.0) -> Loss:
    """Cross-entropy with what is above 0 of label smoothing and z-loss."""
    if label_smoothing or z_loss:
        return RegularizedCrossEntropy(vocabulary, label_smoothing, z_loss)
    return weighted_cross_entropy
