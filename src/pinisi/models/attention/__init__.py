"""Computes attention inside documents: their bounds, the table of backends, and the dense reference."""

from pinisi.models.attention.backends import (
    AUTO,
    BACKENDS,
    DENSE,
    AttentionBackend,
    AttentionFeatures,
    check_features,
    check_place,
    choose,
)
from pinisi.models.attention.bounds import DocumentBounds, document_bounds
from pinisi.models.attention.dense import dense_mask
from pinisi.models.attention.interface import PackedRows, attention_forward, layer_config, packed_rows

__all__ = [
    "AUTO",
    "BACKENDS",
    "DENSE",
    "AttentionBackend",
    "AttentionFeatures",
    "DocumentBounds",
    "PackedRows",
    "attention_forward",
    "check_features",
    "check_place",
    "choose",
    "dense_mask",
    "document_bounds",
    "layer_config",
    "packed_rows",
]
