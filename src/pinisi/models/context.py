"""Makes what every layer of a microbatch shares: rotary tables, and per attention type a mask or documents' bounds.

Shape letters: b sequences, s positions, d head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.architectures import SLIDING
from pinisi.models.attention import (
    DENSE,
    DocumentBounds,
    PackedRows,
    choose,
    dense_mask,
    document_bounds,
    packed_rows,
)
from pinisi.models.spec import ModelSpec


@dataclass(frozen=True)
class Context:
    """masks[type]: bool [b,1,s,s] (sdpa), additive [b,1,s,s] in the model's dtype (eager), None: plain causal, or the documents'
    bounds for a backend that needs no mask. rotary[type]: (cos, sin), each [b,s,d]. positions: [b,s]. seed: of what is dropped;
    None: as torch's own generator has it."""

    masks: dict[str, Tensor | PackedRows | None]
    rotary: dict[str, tuple[Tensor, Tensor]]
    positions: Tensor
    seed: int | None = None


def make_context(
    spec: ModelSpec,
    documents: Tensor,
    positions: Tensor,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Context:
    """Builds the context of one microbatch, once for all its layers.

    A token sees the tokens of its own document at or before itself; on sliding layers only the last
    `spec.window` of them, itself included (transformers' convention: key > query - window). Windows count
    places in the row.

    Args:
        documents: [b,s], any integer per document of a row; equal integers see each other.
        positions: [b,s], what the rotary tables are made of. Where they start again with each document, as batches have them
            by default, a packed document is computed as it would be alone. Tables that follow the length (dynamic, longrope)
            follow a document's own: its last position, and not the row's.
    """
    if documents.ndim != 2 or documents.shape != positions.shape:
        raise ModelError(
            f"documents {tuple(documents.shape)} and positions {tuple(positions.shape)} must both be [b, s]."
        )
    types = sorted(set(spec.attention_types))
    bounds, device = document_bounds(documents), torch.device(device)
    documents, positions = documents.to(device), positions.to(device)
    masks = {kind: _mask(spec, kind, documents, bounds, dtype) for kind in types}
    return Context(masks, _rotary(spec, documents, positions, types, dtype), positions)


def reference_inputs(
    spec: ModelSpec,
    tokens: Tensor,
    documents: Tensor,
    positions: Tensor,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Keyword arguments with which transformers' own whole model computes the same:
    model(**reference_inputs(...)).

    Make that model with dtype= in from_config or from_pretrained and attn_implementation=spec.attention.
    """
    context = make_context(replace(spec, backend=DENSE), documents, positions, dtype, device)
    by_type = spec.architecture.windows == "by layer"
    masks: Any = context.masks if by_type else next(iter(context.masks.values()))
    return {
        "input_ids": tokens.to(device),
        "position_ids": context.positions,
        "attention_mask": masks,
        "use_cache": False,
    }


def _mask(
    spec: ModelSpec, kind: str, documents: Tensor, bounds: DocumentBounds | None, dtype: torch.dtype
) -> Tensor | PackedRows | None:
    """What layers of one type take: bounds is None where a document of a row stands in pieces apart."""
    s, device = documents.shape[1], documents.device
    window = spec.window if kind == SLIDING else None
    if window is not None and window >= s:
        window = None
    backend = choose(spec.backend, spec.attention_features, bounds, window, dtype, device)
    if backend.name != DENSE:
        assert bounds is not None
        return packed_rows(backend, bounds, window, device)
    if spec.attention == "sdpa" and window is None and bounds is not None and not bounds.packed:
        # sdpa then runs its causal kernel, as it does inside transformers, and needs no s * s mask
        return None
    return dense_mask(documents, window, dtype, additive=spec.attention == "eager")


def _rotary(
    spec: ModelSpec, documents: Tensor, positions: Tensor, types: list[str], dtype: torch.dtype
) -> dict[str, tuple[Tensor, Tensor]]:
    if spec.architecture.rotary_by_type:
        return {kind: _tables(spec, documents, positions, dtype, kind) for kind in types}
    return dict.fromkeys(types, _tables(spec, documents, positions, dtype))


def _tables(
    spec: ModelSpec, documents: Tensor, positions: Tensor, dtype: torch.dtype, *kind: str
) -> tuple[Tensor, Tensor]:
    """cos and sin, each [b,s,d]; of an attention type where each has its own."""
    like = torch.empty(0, dtype=dtype, device=positions.device)  # says dtype and device only
    module = _rotary_module(spec, positions.device)
    rope = module.rope_type[kind[0]] if kind else module.rope_type
    if not _follows_length(rope):
        return module(like, positions, *kind)
    # Documents that have the same frequencies in one go, each time with a module that has seen no other length.
    groups = _groups(spec, documents, positions, rope, *kind)
    found: tuple[Tensor, Tensor] | None = None
    for group in groups.unique().tolist():
        here = groups == group
        made = _new_module(spec, positions.device)(like, positions.where(here, 0), *kind)
        mine = here[..., None]
        found = made if found is None else (made[0].where(mine, found[0]), made[1].where(mine, found[1]))
    assert found is not None
    return found


def _follows_length(rope: str) -> bool:
    return "dynamic" in rope or rope == "longrope"


def _groups(spec: ModelSpec, documents: Tensor, positions: Tensor, rope: str, *kind: str) -> Tensor:
    """[b,s]: equal where frequencies are. Up to the original length they are the model's own; beyond it longrope has one other
    set, dynamic NTK another for each length."""
    row = torch.arange(len(documents), device=documents.device)[:, None].expand_as(documents)
    _, number = torch.stack([row, documents], -1).flatten(0, 1).unique(dim=0, return_inverse=True)
    last = positions.new_zeros(positions.numel()).scatter_reduce(
        0, number, positions.flatten(), "amax", include_self=False
    )
    lengths = last[number].view_as(positions) + 1
    config: Any = spec.config
    original = config.max_position_embeddings
    if rope == "longrope":
        parameters = config.rope_parameters[kind[0]] if kind else config.rope_parameters
        original = parameters.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", original
        )
        return (lengths > original).long()
    return lengths.clamp(min=original)


def _rotary_module(spec: ModelSpec, device: torch.device) -> Any:
    """transformers' rotary module; its frequencies stay fp32 whatever the model's dtype."""
    key = str(device)
    if key not in spec.rotary_cache:
        spec.rotary_cache[key] = _new_module(spec, device)
    return spec.rotary_cache[key]


def _new_module(spec: ModelSpec, device: torch.device) -> torch.nn.Module:
    return spec.architecture.part("RotaryEmbedding")(spec.config).to(device)
