"""What every layer of a microbatch shares: attention masks per attention type and rotary tables.

Shape letters: b sequences, s positions, d head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.architectures import SLIDING
from pinisi.models.spec import ModelSpec


@dataclass(frozen=True)
class Context:
    """masks[type]: bool [b,1,s,s] (sdpa), additive [b,1,s,s] in the model's dtype (eager), or None: plain
    causal. rotary[type]: (cos, sin), each [b,s,d]. positions: [b,s]. seed: of what is dropped; None: as torch's own
    generator has it."""

    masks: dict[str, Tensor | None]
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
        positions: [b,s], what the rotary tables are made of; they start again with each document.
    """
    if documents.ndim != 2 or documents.shape != positions.shape:
        raise ModelError(
            f"documents {tuple(documents.shape)} and positions {tuple(positions.shape)} must both be [b, s]."
        )
    types = sorted(set(spec.attention_types))
    single = _single_document(documents)
    documents, positions = documents.to(device), positions.to(device)
    masks = {kind: _mask(spec, kind, documents, single, dtype) for kind in types}
    return Context(masks, _rotary(spec, positions, types, dtype), positions)


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
    context = make_context(spec, documents, positions, dtype, device)
    by_type = spec.architecture.windows == "by layer"
    masks: Any = context.masks if by_type else next(iter(context.masks.values()))
    return {
        "input_ids": tokens.to(device),
        "position_ids": context.positions,
        "attention_mask": masks,
        "use_cache": False,
    }


def _single_document(documents: Tensor) -> bool:
    return bool((documents == documents[:, :1]).all())


def _mask(spec: ModelSpec, kind: str, documents: Tensor, single: bool, dtype: torch.dtype) -> Tensor | None:
    s = documents.shape[1]
    window = spec.window if kind == SLIDING else None
    if window is not None and window >= s:
        window = None
    if spec.attention == "sdpa" and single and window is None:
        # sdpa then runs its causal kernel, as it does inside transformers, and needs no s * s mask
        return None
    place = torch.arange(s, device=documents.device)
    seen = place[:, None] >= place[None, :]
    if window is not None:
        seen &= place[None, :] > place[:, None] - window
    allowed = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    if spec.attention == "sdpa":
        return allowed
    return torch.zeros((), dtype=dtype, device=documents.device).where(allowed, torch.finfo(dtype).min)


def _rotary(
    spec: ModelSpec, positions: Tensor, types: list[str], dtype: torch.dtype
) -> dict[str, tuple[Tensor, Tensor]]:
    tables = _rotary_module(spec, positions.device)
    like = torch.empty(0, dtype=dtype, device=positions.device)  # says dtype and device only
    if spec.architecture.rotary_by_type:
        return {kind: tables(like, positions, kind) for kind in types}
    return dict.fromkeys(types, tables(like, positions))


def _rotary_module(spec: ModelSpec, device: torch.device) -> torch.nn.Module:
    """transformers' rotary module; its frequencies stay fp32 whatever the model's dtype.

    Frequencies that follow the longest position (dynamic, longrope) start fresh each time, so that a
    microbatch's tables depend on that microbatch alone.
    """
    key = str(device)
    if key not in spec.rotary_cache:
        module = spec.architecture.part("RotaryEmbedding")(spec.config).to(device)
        kinds = module.rope_type.values() if isinstance(module.rope_type, dict) else [module.rope_type]
        if any("dynamic" in kind or kind == "longrope" for kind in kinds):
            return module
        spec.rotary_cache[key] = module
    return spec.rotary_cache[key]
