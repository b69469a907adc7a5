"""Splits the two ends of the model by rows over all ranks: embedding (E, G) and LM head (S, T)."""

from pinisi.vocabulary.distribution import DistributionHead
from pinisi.vocabulary.embedding import EmbeddingShard, owned_positions
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import HeadPass
from pinisi.vocabulary.head_protocol import Head, VocabularyPass
from pinisi.vocabulary.projection import Projection
from pinisi.vocabulary.shards import Shards
from pinisi.vocabulary.tiles import Curve
from pinisi.vocabulary.unread import UnreadHead

__all__ = [
    "Curve",
    "DistributionHead",
    "EmbeddingShard",
    "Head",
    "HeadPass",
    "HeadShard",
    "Projection",
    "Shards",
    "UnreadHead",
    "VocabularyPass",
    "owned_positions",
]
