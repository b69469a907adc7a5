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
from pinisi.losses.pairs import AnswerPairs, PairLoss, preference_loss, preference_losses
from pinisi.losses.policy import clipped_ratio
from pinisi.losses.preference import dpo, ln_dpo, lr_dpo, simpo
from pinisi.losses.registry import loss_named, loss_names, loss_settings, register_loss

__all__ = [
    "AnswerPairs",
    "CheckedLoss",
    "LogProbs",
    "Loss",
    "LossValue",
    "PairLoss",
    "RegularizedCrossEntropy",
    "WithDistillation",
    "WithEntropy",
    "clipped_ratio",
    "cross_entropy_with",
    "data_names",
    "dpo",
    "ln_dpo",
    "loss_named",
    "loss_names",
    "loss_settings",
    "lr_dpo",
    "preference_loss",
    "preference_losses",
    "reads_logit_sum",
    "reads_of_distribution",
    "reads_total",
    "register_loss",
    "simpo",
    "token_weights",
    "weighted_cross_entropy",
]
