"""The two ends of the model, split by rows over all ranks: embedding (E, G) and LM head (S, T)."""

from pinisi.vocabulary.distribution import DistributionHead, Projection
from pinisi.vocabulary.embedding import EmbeddingShard, owned_positions
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import HeadPass
from pinisi.vocabulary.shards import Shards

__all__ = [
    "DistributionHead",
    "EmbeddingShard",
    "HeadPass",
    "HeadShard",
    "Projection",
    "Shards",
    "owned_positions",
]
