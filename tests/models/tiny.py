"""Tiny models of every architecture, and packed microbatches, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from pinisi.models import ARCHITECTURES, ModelSpec, RandomWeights, Stage, build_stage, make_context, read_spec

VOCABULARY = 1009  # a prime: no split divides it
NAMES = sorted(ARCHITECTURES)


def tiny_config(model_type: str, **changes) -> dict:
    """Four layers, sliding windows (of 5 places) wherever the architecture has them."""
    config = {
        "model_type": model_type,
        "vocab_size": VOCABULARY,
        "hidden_size": 36,
        "intermediate_size": 52,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if model_type in ("qwen3", "gemma2", "gemma3_text"):
        config["head_dim"] = 10
    if model_type in ("qwen2", "qwen3"):
        config |= {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}
    if model_type in ("mistral", "phi3"):
        config["sliding_window"] = 5
    if model_type.startswith("gemma"):
        config |= {"sliding_window": 5, "query_pre_attn_scalar": 10, "pad_token_id": 0}
        config["layer_types"] = ["sliding_attention", "full_attention"] * 2
    if model_type == "gemma3_text":
        config["final_logit_softcapping"] = 30.0
    return config | changes


def tiny_spec(model_type: str, **changes) -> ModelSpec:
    return read_spec(tiny_config(model_type, **changes))


def packed(b: int = 3, s: int = 19, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, documents, positions [b,s]: a few documents of uneven length in each row."""
    generator = torch.Generator().manual_seed(seed)
    starts = torch.rand(b, s, generator=generator) < 0.15
    documents = starts.int().cumsum(1)
    first = torch.where(starts, torch.arange(s), 0).cummax(1).values
    tokens = torch.randint(VOCABULARY, (b, s), generator=generator)
    return tokens, documents, torch.arange(s) - first


def perturbed(weights: RandomWeights) -> dict[str, Tensor]:
    """Every parameter away from its neutral start, so that a missing bias or a forgotten norm shows."""
    generator = torch.Generator().manual_seed(99)
    found = {}
    for name in weights.names():
        start = weights.get(name)
        found[name] = start + 0.1 * torch.randn(start.shape, generator=generator).to(start.dtype)
    return found


class DictWeights:
    """Weights from a dict, for the tests."""

    def __init__(self, tensors: dict[str, Tensor]):
        self.tensors = tensors

    def names(self) -> list[str]:
        return list(self.tensors)

    def get(self, name: str, rows: range | None = None) -> Tensor:
        found = self.tensors[name]
        return (found if rows is None else found[rows.start : rows.stop]).clone()


def whole_model(spec: ModelSpec, tensors: dict[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """transformers' own model with these parameters."""
    model = AutoModelForCausalLM.from_config(spec.config, dtype=dtype, attn_implementation=spec.attention)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert set(missing) <= ({"lm_head.weight"} if spec.tied else set())
    return model


def stages(spec: ModelSpec, weights, cuts: list[int], dtype: torch.dtype) -> list[Stage]:
    """The model cut before the layers in `cuts`, with the embedding in the first stage and the head in the
    last."""
    edges = [0, *cuts, spec.layers]
    last = len(edges) - 2
    return [
        build_stage(
            spec,
            range(edges[i], edges[i + 1]),
            weights,
            dtype=dtype,
            embedding=i == 0,
            head=i == last,
            norm=i == last,
        )
        for i in range(last + 1)
    ]


def run(
    parts: list[Stage], tokens: Tensor, documents: Tensor, positions: Tensor, dtype: torch.dtype
) -> Tensor:
    context = make_context(parts[0].spec, documents, positions, dtype=dtype, device="cpu")
    hidden = tokens
    for part in parts:
        hidden = part(hidden, context)
    return hidden
