"""Small functions from log-probabilities to a loss and its derivatives per token."""

from pinisi.losses.cross_entropy import (
    Loss,
    LossValue,
    RegularizedCrossEntropy,
    cross_entropy_with,
    data_names,
    reads_logit_sum,
    reads_of_distribution,
    reads_total,
    token_weights,
    weighted_cross_entropy,
)
from pinisi.losses.distribution import WithDistillation, WithEntropy
from pinisi.losses.preference import PreferenceLoss, clipped_ratio, dpo

__all__ = [
    "Loss",
    "LossValue",
    "PreferenceLoss",
    "RegularizedCrossEntropy",
    "WithDistillation",
    "WithEntropy",
    "clipped_ratio",
    "cross_entropy_with",
    "data_names",
    "dpo",
    "reads_logit_sum",
    "reads_of_distribution",
    "reads_total",
    "token_weights",
    "weighted_cross_entropy",
]
