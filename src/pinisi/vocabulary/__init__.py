"""The two ends of the model, split by rows over all ranks: embedding (E, G) and LM head (S, T)."""

from pinisi.vocabulary.distribution import DistributionHead, Projection
from pinisi.vocabulary.distribution_losses import WithDistillation, WithEntropy
from pinisi.vocabulary.embedding import EmbeddingShard, owned_positions
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import HeadPass
from pinisi.vocabulary.losses import (
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
from pinisi.vocabulary.preference_losses import PreferenceLoss, clipped_ratio, dpo
from pinisi.vocabulary.shards import IGNORE_INDEX, Shards
from pinisi.vocabulary.statistics import LogProbs

__all__ = [
    "IGNORE_INDEX",
    "DistributionHead",
    "EmbeddingShard",
    "HeadPass",
    "HeadShard",
    "LogProbs",
    "Loss",
    "LossValue",
    "PreferenceLoss",
    "Projection",
    "RegularizedCrossEntropy",
    "Shards",
    "WithDistillation",
    "WithEntropy",
    "clipped_ratio",
    "cross_entropy_with",
    "data_names",
    "dpo",
    "owned_positions",
    "reads_logit_sum",
    "reads_of_distribution",
    "reads_total",
    "token_weights",
    "weighted_cross_entropy",
]
