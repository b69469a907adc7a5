"""Enters the backends into transformers' own attention interface, under one name, for layers that stages build."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pinisi.base.errors import ModelError
from pinisi.models.attention.backends import AttentionBackend
from pinisi.models.attention.bounds import DocumentBounds

NAME = "pinisi"
_FORM = "_pinisi_dense_form"  # on a layer's configuration: sdpa or eager


@dataclass(frozen=True)
class PackedRows:
    """Stands in a mask's place: a backend, and what it made of the documents' bounds."""

    backend: AttentionBackend
    prepared: Any
    bounds: DocumentBounds


def packed_rows(
    backend: AttentionBackend, bounds: DocumentBounds, window: int | None, device: torch.device
) -> PackedRows:
    """Prepares a microbatch for one backend, once for all layers with this window."""
    assert backend.prepare is not None, "dense attention takes a mask"
    return PackedRows(backend, backend.prepare(bounds, window, device), bounds)


def layer_config(config: PreTrainedConfig) -> Any:
    """Returns a copy whose layers take PackedRows or, as before, a mask: then with the configuration's own form."""
    found = copy.deepcopy(config)
    setattr(found, _FORM, config._attn_implementation)
    found._attn_implementation = NAME
    return found


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | PackedRows | None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """Returns ([b,s,H,d], weights or None), as every function of transformers' interface."""
    if isinstance(attention_mask, PackedRows):
        return _packed(query, key, value, attention_mask, **more), None
    form = getattr(module.config, _FORM)
    if form == "eager":  # a function of each architecture's own module
        dense: Any = sys.modules[type(module).__module__]
        return dense.eager_attention_forward(module, query, key, value, attention_mask, **more)
    return ALL_ATTENTION_FUNCTIONS[form](module, query, key, value, attention_mask, **more)


def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: PackedRows,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> Tensor:
    backend = rows.backend
    assert backend.attend is not None
    if (dropout and not backend.dropout) or (s_aux is not None and not backend.sinks):
        what = "attention_dropout" if dropout else "attention sinks"
        raise ModelError(f"attention backend {backend.name!r} has no {what}: set model.attention to 'dense'.")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return backend.attend(query, key, value, rows.prepared, scale, softcap)


ALL_ATTENTION_FUNCTIONS.register(NAME, attention_forward)
