"""Says how each supported architecture is cut into stages: one row of a table per architecture.

Everything that the code of this folder must know about an architecture stands in its row; the layers
themselves are transformers' own classes.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from transformers import PreTrainedConfig

FULL = "full_attention"
SLIDING = "sliding_attention"


@dataclass(frozen=True)
class Architecture:
    """One row: where transformers keeps the parts of a model, and what differs between models.

    windows: which layers attend within a sliding window. "none": none; "all": all of them when the config
    has a
        sliding_window (the model then takes one mask); "by layer": config.layer_types says (it takes one per
        type).
    norm_start: initial value of a norm's weight; Gemma's norms multiply by 1 + weight.
    scaled_embedding: embeddings are multiplied by sqrt(hidden), rounded to the model's dtype.
    rotary_by_type: full and sliding layers have rotary tables of their own.
    norms_after: a layer's attention and MLP each end with a norm, behind the last projection.
    attention: the attention implementation; `sdpa` cannot soft-cap attention scores.
    """

    model_type: str
    prefix: str
    package: str = ""
    config: str = ""
    windows: Literal["none", "all", "by layer"] = "none"
    norm_start: float = 1.0
    scaled_embedding: bool = False
    rotary_by_type: bool = False
    norms_after: bool = False
    attention: Literal["sdpa", "eager"] = "sdpa"

    embedding_name = "model.embed_tokens.weight"
    head_name = "lm_head.weight"
    norm_name = "model.norm.weight"
    layers_name = "model.layers"

    @property
    def module(self) -> ModuleType:
        package = self.package or self.model_type
        return importlib.import_module(f"transformers.models.{package}.modeling_{package}")

    def part(self, name: str) -> Any:
        """transformers' class for `DecoderLayer`, `RMSNorm`, `RotaryEmbedding` or `ForCausalLM`."""
        return getattr(self.module, self.prefix + name)

    @property
    def config_class(self) -> type[PreTrainedConfig]:
        package = self.package or self.model_type
        module = importlib.import_module(f"transformers.models.{package}.configuration_{package}")
        return getattr(module, self.config or f"{self.prefix}Config")

    def attention_types(self, config: PreTrainedConfig) -> tuple[str, ...]:
        """Per layer, `full_attention` or `sliding_attention`."""
        if self.windows == "by layer":
            return tuple(config.layer_types)
        sliding = self.windows == "all" and config.sliding_window is not None
        return (SLIDING if sliding else FULL,) * config.num_hidden_layers


_ROWS = (
    Architecture("qwen2", "Qwen2", windows="by layer"),
    Architecture("llama", "Llama"),
    Architecture(
        "gemma2",
        "Gemma2",
        windows="by layer",
        norm_start=0.0,
        scaled_embedding=True,
        norms_after=True,
        attention="eager",
    ),
    Architecture("mistral", "Mistral", windows="all"),
    Architecture("qwen3", "Qwen3", windows="by layer"),
    Architecture(
        "gemma3_text",
        "Gemma3",
        package="gemma3",
        config="Gemma3TextConfig",
        windows="by layer",
        norm_start=0.0,
        scaled_embedding=True,
        rotary_by_type=True,
        norms_after=True,
    ),
    Architecture("phi3", "Phi3", windows="all"),
    Architecture("olmo2", "Olmo2", norms_after=True),
)

ARCHITECTURES: dict[str, Architecture] = {row.model_type: row for row in _ROWS}
