"""A small random model with a tokenizer, and what is asked of it: made-up items in several scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tests.data.conftest import write_tokenizer
from tests.engine.conftest import project

__all__ = ["project"]

VOCABULARY = 401  # one row more than the tokenizer has, and prime
XCOPA = [
    ("ฝนตกหนักมาก", "ถนนเปียก", "ถนนแห้ง", "effect", 0),
    ("เด็กร้องไห้", "เขาหกล้ม", "เขาได้ของเล่น", "cause", 0),
    ("แก้วแตก", "มีคนทำหล่น", "มีคนล้างมันเบา ๆ", "cause", 0),
    ("ไฟดับ", "เราจุดเทียน", "เราดูทีวี", "effect", 0),
    ("รถเสีย", "ฉันเดินไปทำงาน", "ฉันขับรถเร็วขึ้น", "effect", 1),
]


def write_model(folder: Path, dtype: torch.dtype = torch.float32, seed: int = 0, **settings: object) -> Path:
    write_tokenizer(folder)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=96,
        initializer_range=0.3,
        tie_word_embeddings=False,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=None,
        **settings,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(folder)
    return folder


def write_lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def xcopa(tmp_path_factory) -> Path:
    records = [
        {"premise": p, "choice1": a, "choice2": b, "question": q, "label": label, "idx": n}
        for n, (p, a, b, q, label) in enumerate(XCOPA)
    ]
    return write_lines(tmp_path_factory.mktemp("xcopa") / "xcopa.th.jsonl", records)
