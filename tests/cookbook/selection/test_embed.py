"""Vectors of a sentence-embedding model: those of transformers' own model, and what a selection drops by them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from pinisi.base.errors import ModelError
from pinisi.cookbook.selection import run
from pinisi.cookbook.selection.run import select_chats
from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.cookbook.selection.vectors import sentence_model, sentence_vectors
from tests.data.conversations.made import assistant, chat, user, write_chats

TEXTS = [
    "Hujan turun sejak pagi di seluruh kota.",
    "Sejak pagi hujan turun di seluruh kota.",  # the same words: a model without positions tells none from the other
    "Petani menanam padi di sawah.",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A sentence-embedding model with random weights that adds up words, whatever their order."""
    library = pytest.importorskip("sentence_transformers")
    folder = tmp_path_factory.mktemp("embed")
    words = sorted({word for text in TEXTS for word in text.lower().strip(".").split()})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    splitter = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    splitter.normalizer = normalizers.Lowercase()
    splitter.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes))
    torch.nn.init.zeros_(bert.embeddings.position_embeddings.weight)
    bert.save_pretrained(folder / "bert")
    PreTrainedTokenizerFast(tokenizer_object=splitter, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder / "bert"
    )
    made = library.SentenceTransformer(str(folder / "bert"), device="cpu")  # it adds a mean over tokens
    made.save(str(folder / "model"))
    return folder / "model"


def by_transformers(texts: list[str], folder: Path) -> np.ndarray:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    bert = BertModel.from_pretrained(folder).eval()
    found = []
    for text in texts:
        with torch.no_grad():
            states = bert(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
        mean = states.mean(0)
        found.append((mean / mean.norm()).numpy())
    return np.array(found)


def test_vectors_are_means_over_tokens_of_the_model_alone(model) -> None:
    found = sentence_vectors(TEXTS, sentence_model(str(model)))
    assert found.dtype == np.float32
    assert np.abs(found - by_transformers(TEXTS, model.parent / "bert")).max() < 1e-5


def test_what_the_model_takes_for_alike_is_dropped(model, tmp_path) -> None:
    write_chats(
        tmp_path / "chats.jsonl",
        [chat(user(f"Kalimat {n}?"), assistant(text), language="id") for n, text in enumerate(TEXTS)],
    )
    settings = SelectSettings(
        str(tmp_path / "chats.jsonl"), embed=str(model), check="none", similar=0.999, category="none"
    )
    select_chats(settings, tmp_path / "out", report=lambda line: None)
    kept = [json.loads(line) for line in (tmp_path / "out" / "selected.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in kept] == [TEXTS[0], TEXTS[2]]


def test_one_model_is_told_from_another_by_its_files_wherever_they_lie(model, tmp_path) -> None:
    write_chats(tmp_path / "chats.jsonl", [chat(user("Apa?"), assistant(TEXTS[0]), language="id")])
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    settings = SelectSettings(str(tmp_path / "chats.jsonl"), embed=str(copy))
    seen = [settings_of_choice(settings)]
    assert settings_of_choice(settings) == seen[0]
    for name in ("model.safetensors", "1_Pooling/config.json"):
        path = next(copy.rglob(name))
        path.write_bytes(path.read_bytes() + b" " * (path.suffix == ".json"))
        if path.suffix != ".json":
            tensors = load_file(path)
            save_file({key: value + 1e-3 for key, value in tensors.items()}, path, {"format": "pt"})
        seen.append(settings_of_choice(settings))
    assert len({json.dumps(each) for each in seen}) == 3


def settings_of_choice(settings: SelectSettings) -> object:
    """What decides whether the last stage is done anew."""
    return run._stages(settings)[-1].depends


def test_a_model_that_is_none_is_said_before_any_work(model, tmp_path) -> None:
    write_chats(tmp_path / "chats.jsonl", [chat(user("Apa?"), assistant(TEXTS[0]), language="id")])
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "modules.json").write_text("[")
    for name in ("nowhere", "empty", "torn"):
        settings = SelectSettings(str(tmp_path / "chats.jsonl"), embed=str(tmp_path / name))
        with pytest.raises(ModelError, match=f"--embed .*{name} can't be loaded"):
            select_chats(settings, tmp_path / "out", report=lambda line: None)
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out.parts/*"))
