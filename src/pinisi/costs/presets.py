"""Holds the shapes of well-known models, as Hugging Face configurations without weights.

Sources: the config.json of each model on the Hugging Face hub, and the reports: Qwen2.5 arXiv 2412.15115 table 1, Qwen3 arXiv
2505.09388 table 1, Llama 3
arXiv 2407.21783 table 3, Gemma 3 arXiv 2503.19786 table 1 and section 2, Sailor2 arXiv 2502.12982 section 4: Qwen2.5 0.5B,
7B and 14B with 24, 4 and 16 layers more, the smallest untied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _qwen(
    hidden: int, ffn: int, layers: int, heads: int, kv: int, vocabulary: int, tied: bool
) -> dict[str, Any]:
    return _common(hidden, ffn, layers, heads, kv, vocabulary, tied) | {
        "model_type": "qwen2",
        "max_position_embeddings": 32768,
        "rope_theta": 1e6,
    }


def _qwen3(hidden: int, ffn: int, layers: int, heads: int, tied: bool) -> dict[str, Any]:
    return _common(hidden, ffn, layers, heads, 8, 151936, tied) | {
        "model_type": "qwen3",
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "rope_theta": 1e6,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
    }


def _llama(hidden: int, ffn: int, layers: int, heads: int, tied: bool = False) -> dict[str, Any]:
    return _common(hidden, ffn, layers, heads, 8, 128256, tied) | {
        "model_type": "llama",
        "max_position_embeddings": 8192,
        "rope_theta": 5e5,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    }


def _gemma(
    hidden: int, ffn: int, layers: int, heads: int, kv: int, width: int, window: int, vocabulary: int
) -> dict[str, Any]:
    return _common(hidden, ffn, layers, heads, kv, vocabulary, True) | {
        "model_type": "gemma3_text",
        "head_dim": width,
        "sliding_window": window,
        "max_position_embeddings": 32768,
        "query_pre_attn_scalar": width if layers < 60 else hidden // heads,
        # five layers with a window to each without
        "layer_types": ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)],
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }


def _common(
    hidden: int, ffn: int, layers: int, heads: int, kv: int, vocabulary: int, tied: bool
) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "tie_word_embeddings": tied,
    }


_ROWS: dict[str, tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]] = {
    "qwen2.5-0.5b": (_qwen, (896, 4864, 24, 14, 2, 151936, True)),
    "qwen2.5-1.5b": (_qwen, (1536, 8960, 28, 12, 2, 151936, True)),
    "qwen2.5-3b": (_qwen, (2048, 11008, 36, 16, 2, 151936, True)),
    "qwen2.5-7b": (_qwen, (3584, 18944, 28, 28, 4, 152064, False)),
    "qwen2.5-14b": (_qwen, (5120, 13824, 48, 40, 8, 152064, False)),
    "qwen2.5-32b": (_qwen, (5120, 27648, 64, 40, 8, 152064, False)),
    "qwen2.5-72b": (_qwen, (8192, 29568, 80, 64, 8, 152064, False)),
    "qwen3-0.6b": (_qwen3, (1024, 3072, 28, 16, True)),
    "qwen3-1.7b": (_qwen3, (2048, 6144, 28, 16, True)),
    "qwen3-4b": (_qwen3, (2560, 9728, 36, 32, True)),
    "qwen3-8b": (_qwen3, (4096, 12288, 36, 32, False)),
    "qwen3-14b": (_qwen3, (5120, 17408, 40, 40, False)),
    "qwen3-32b": (_qwen3, (5120, 25600, 64, 64, False)),
    "llama3-1b": (_llama, (2048, 8192, 16, 32, True)),
    "llama3-3b": (_llama, (3072, 8192, 28, 24, True)),
    "llama3-8b": (_llama, (4096, 14336, 32, 32)),
    "llama3-70b": (_llama, (8192, 28672, 80, 64)),
    "llama3-405b": (_llama, (16384, 53248, 126, 128)),
    "gemma3-1b": (_gemma, (1152, 6912, 26, 4, 1, 256, 512, 262144)),
    "gemma3-4b": (_gemma, (2560, 10240, 34, 8, 4, 256, 1024, 262208)),
    "gemma3-12b": (_gemma, (3840, 15360, 48, 16, 8, 256, 1024, 262208)),
    "gemma3-27b": (_gemma, (5376, 21504, 62, 32, 16, 128, 1024, 262208)),
    "sailor2-1b": (_qwen, (896, 4864, 48, 14, 2, 151936, False)),
    "sailor2-8b": (_qwen, (3584, 18944, 32, 28, 4, 152064, False)),
    "sailor2-20b": (_qwen, (5120, 13824, 64, 40, 8, 152064, False)),
}


def preset_names() -> list[str]:
    return list(_ROWS)


def preset(name: str) -> dict[str, Any] | None:
    """A Hugging Face configuration by name (any case), or None."""
    row = _ROWS.get(name.lower())
    return None if row is None else row[0](*row[1])
