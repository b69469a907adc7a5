"""The two ends of the model, split by rows over all ranks: embedding (E, G) and LM head (S, T)."""

from pinisi.vocabulary.embedding import EmbeddingShard, owned_positions
from pinisi.vocabulary.head import HeadPass, HeadShard
from pinisi.vocabulary.losses import (
    Loss,
    LossValue,
    RegularizedCrossEntropy,
    cross_entropy_with,
    reads_logit_sum,
    token_weights,
    weighted_cross_entropy,
)
from pinisi.vocabulary.preference_losses import clipped_ratio, dpo
from pinisi.vocabulary.shards import IGNORE_INDEX, Shards
from pinisi.vocabulary.statistics import LogProbs

__all__ = [
    "IGNORE_INDEX",
    "EmbeddingShard",
    "HeadPass",
    "HeadShard",
    "LogProbs",
    "Loss",
    "LossValue",
    "RegularizedCrossEntropy",
    "Shards",
    "clipped_ratio",
    "cross_entropy_with",
    "dpo",
    "owned_positions",
    "reads_logit_sum",
    "token_weights",
    "weighted_cross_entropy",
]
