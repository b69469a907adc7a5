"""Computes losses: small functions from log-probabilities to a loss and its derivatives per token."""

from pinisi.losses.checked import CheckedLoss
from pinisi.losses.cross_entropy import (
    RegularizedCrossEntropy,
    cross_entropy_with,
    token_weights,
    weighted_cross_entropy,
)
from pinisi.losses.distribution import WithDistillation, WithEntropy
from pinisi.losses.loss import (
    LogProbs,
    Loss,
    LossValue,
    data_names,
    reads_logit_sum,
    reads_of_distribution,
    reads_total,
)
from pinisi.losses.policy import clipped_ratio
from pinisi.losses.preference import PreferenceLoss, dpo
from pinisi.losses.registry import loss_named, loss_names, loss_settings, register_loss

__all__ = [
    "CheckedLoss",
    "LogProbs",
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
    "loss_named",
    "loss_names",
    "loss_settings",
    "reads_logit_sum",
    "reads_of_distribution",
    "reads_total",
    "register_loss",
    "token_weights",
    "weighted_cross_entropy",
]
