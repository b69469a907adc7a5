"""Tiny models with tokenizers of known kinds, and text that is drawn from a few sentences."""

import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from pinisi.models import read_spec

from ..data.conftest import TEXTS
from ..data.made_tokenizers import made
from ..models.tiny import tiny_config

ROWS = 1009  # more than any of the tokenizers has


def drawn_texts(language: str, documents: int, seed: int = 0) -> list[str]:
    """Documents of words, or runs of eight characters, that are drawn from real sentences."""
    random_ = random.Random(f"{seed} {language}")
    words = [word for text in TEXTS[language] for word in text.split()]
    words += [text[place : place + 8] for text in TEXTS[language] for place in range(0, len(text), 5)]
    return [" ".join(random_.choices(words, k=random_.randint(1, 40))) for _ in range(documents)]


def reading(texts: dict[str, list[str]]) -> dict:
    return {language: (lambda of=of: iter(of)) for language, of in texts.items()}


def tiny_model(
    folder: Path,
    architecture: str,
    kind: str,
    *,
    tied: bool,
    ignore_merges: bool = False,
    rows: int = ROWS,
    **changes,
) -> Path:
    """A model with random weights and a tokenizer; the padding id lies in a row that has no token."""
    made(folder, kind)
    if ignore_merges:
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text())
        data["model"]["ignore_merges"] = True
        path.write_text(json.dumps(data))
    config = tiny_config(
        architecture,
        vocab_size=rows,
        tie_word_embeddings=tied,
        pad_token_id=rows - 9,
        eos_token_id=[2, 7],
        **changes,
    )
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(read_spec(config).config)
    for parameter in model.parameters():  # the row of the padding token too
        torch.nn.init.normal_(parameter, std=0.2)
    model.tie_weights()
    model.generation_config.update(suppress_tokens=[5, 9])
    model.save_pretrained(folder)
    return folder
