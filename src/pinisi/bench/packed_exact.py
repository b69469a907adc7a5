"""Compares attention that takes documents' bounds with transformers' whole models and dense masks, for `pinisi bench packed`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from pinisi.models import (
    ARCHITECTURES,
    ModelSpec,
    RandomWeights,
    Stage,
    build_stage,
    make_context,
    read_spec,
    reference_inputs,
)

BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-11}  # relative, of logits and of each parameter's gradient
LENGTHS = ((5, 190, 1, 104), (300,), (150, 149, 1))  # of documents, in rows of 300 tokens
WINDOWS = (2, 40, 150, 260, 400)  # tiles have 128 queries at least
VOCABULARY = 211


class PackedBatch(NamedTuple):
    """Holds [b, s] each."""

    tokens: Tensor
    documents: Tensor
    positions: Tensor


def small_config(model_type: str, window: int) -> dict[str, Any]:
    """A model of two layers, with soft-capped scores where the architecture has them; of different kinds where it has windows."""
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    windows = ARCHITECTURES[model_type].windows
    if windows != "none":
        config |= {"sliding_window": window, "use_sliding_window": True}
    if windows == "by layer":
        config["layer_types"] = ["sliding_attention", "full_attention"]
    if model_type == "gemma2":
        config |= {"attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 8}
    return config


def packed_batch(seed: int, lengths: Sequence[Sequence[int]] = LENGTHS) -> PackedBatch:
    random = torch.Generator().manual_seed(seed)
    documents = torch.tensor([[i for i, n in enumerate(row) for _ in range(n)] for row in lengths])
    positions = torch.tensor([[place for n in row for place in range(n)] for row in lengths])
    return PackedBatch(torch.randint(VOCABULARY, documents.shape, generator=random), documents, positions)


@contextmanager
def wide_arithmetic() -> Iterator[None]:
    """Keeps float64 where transformers' code takes norms and softmaxes to float32: else they bound how near two sums can come."""
    single: Any = Tensor.float
    softmax: Any = F.softmax

    def as_it_is(x: Tensor, *given: Any, **more: Any) -> Tensor:
        return x if x.dtype == torch.float64 else single(x, *given, **more)

    def wide(x: Tensor, *given: Any, dtype: torch.dtype | None = None, **more: Any) -> Tensor:
        return softmax(x, *given, dtype=x.dtype if x.dtype == torch.float64 else dtype, **more)

    with patch.object(Tensor, "float", as_it_is), patch.object(F, "softmax", wide):
        yield


def _weights(spec: ModelSpec, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every parameter away from its neutral start."""
    drawn = RandomWeights(spec, seed, dtype)
    random = torch.Generator().manual_seed(1000 + seed)
    return {
        name: (start := drawn.get(name)) + 0.1 * torch.randn(start.shape, generator=random).to(dtype)
        for name in drawn.names()
    }


class _Given(NamedTuple):
    tensors: dict[str, Tensor]

    def names(self) -> list[str]:
        return list(self.tensors)

    def get(self, name: str, rows: range | None = None) -> Tensor:
        return self.tensors[name].clone()


def _logits(stage: Stage, batch: PackedBatch, dtype: torch.dtype) -> Tensor:
    return stage(batch.tokens, make_context(stage.spec, batch.documents, batch.positions, dtype))


def _gradients(logits: Tensor, module: torch.nn.Module, batch: PackedBatch) -> dict[str, Tensor]:
    module.zero_grad()
    F.cross_entropy(logits.flatten(0, 1), batch.tokens.roll(-1, 1).flatten()).backward()
    return {name: p.grad.detach().clone() for name, p in module.named_parameters() if p.grad is not None}


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def compare(model_type: str, window: int, backend: str, dtype: torch.dtype, seed: int) -> dict[str, Any]:
    """One model: errors of logits and gradients against the dense mask, how many logits outside of a document a token of it
    moves, and as control the error of a mask that doesn't know documents."""
    with wide_arithmetic():
        spec = read_spec(small_config(model_type, window), attention=backend)
        tensors, batch = _weights(spec, seed, dtype), packed_batch(seed)
        whole = AutoModelForCausalLM.from_config(spec.config, dtype=dtype, attn_implementation=spec.attention)
        whole.load_state_dict(tensors)
        expected = whole(**reference_inputs(spec, *batch, dtype)).logits
        stage = build_stage(spec, range(spec.layers), _Given(tensors), dtype=dtype, embedding=True, head=True)
        found = _logits(stage, batch, dtype)
        ours, theirs = _gradients(found, stage, batch), _gradients(expected, whole, batch)
        with torch.no_grad():
            moved = _moved(stage, batch, found, dtype)
            blind = _logits(stage, batch._replace(documents=torch.zeros_like(batch.documents)), dtype)
        return {
            "architecture": model_type,
            "window": spec.window,
            "backend": backend,
            "dtype": str(dtype).removeprefix("torch."),
            "seed": seed,
            "logits": _error(found.detach(), expected.detach()),
            "gradients": max(_error(ours[name], theirs[name]) for name in theirs)
            if ours.keys() == theirs.keys()
            else float("inf"),
            "moved": moved,
            "control": _error(blind, expected.detach()),
            "bound": BOUNDS[dtype],
        }


def _moved(stage: Stage, batch: PackedBatch, before: Tensor, dtype: torch.dtype) -> int:
    """How many tokens of other documents have other logits, to the bit, when one token of a document is another."""
    moved = 0
    for row, place in ((0, 100), (2, 10), (2, 200)):
        tokens = batch.tokens.clone()
        tokens[row, place] = (tokens[row, place] + 1) % VOCABULARY
        after = _logits(stage, batch._replace(tokens=tokens), dtype)
        others = torch.ones_like(batch.documents, dtype=torch.bool)
        others[row] = batch.documents[row] != batch.documents[row, place]
        moved += int((after != before)[others].any(-1).sum())
    return moved


def cases(backends: Sequence[str]) -> list[tuple[str, int, str, torch.dtype]]:
    """Every architecture, window (one where it has none), backend and dtype."""
    return [
        (name, window, backend, dtype)
        for name, row in ARCHITECTURES.items()
        for window in (WINDOWS if row.windows != "none" else WINDOWS[:1])
        for backend in backends
        for dtype in BOUNDS
    ]


def falls_short(row: dict[str, Any]) -> bool:
    """Whether a comparison is outside of its bound, or would not have noticed a mask without documents."""
    right = max(row["logits"], row["gradients"]) <= row["bound"] and row["moved"] == 0
    return not (right and row["control"] > row["bound"])
