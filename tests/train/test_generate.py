"""`pinisi generate`, compared with a loop of one's own over transformers' logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError, DataError, ModelError
from pinisi.data import load_tokenizer
from pinisi.models import RandomWeights, read_spec, write_folder
from pinisi.train.generate import generate
from tests.data.conftest import write_corpus, write_tokenizer
from tests.engine.runs import CONFIG, pinisi

TEXT = "Kapal pinisi"
MODEL = {
    "model_type": "qwen2",
    "vocab_size": 503,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    at = tmp_path_factory.mktemp("model")
    write_tokenizer(at / "tokenizer")
    spec = read_spec(MODEL)
    weights = RandomWeights(spec, 3)
    return write_folder(spec, ((n, weights.get(n)) for n in weights.names()), at / "out", at / "tokenizer")


def likeliest(folder: Path, text: str, tokens: int) -> list[int]:
    """The new tokens, each the likeliest after all before it, computed anew each time."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = load_tokenizer(folder)(text)["input_ids"]
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


def set_generation(folder: Path, **values: object) -> None:
    (folder / "generation_config.json").write_text(json.dumps(values))


def test_greedy_is_the_likeliest_token_each_time(folder: Path) -> None:
    # what a published chat model's file has: none of it may change what is likeliest
    set_generation(folder, do_sample=True, temperature=0.6, top_k=20, top_p=0.8, repetition_penalty=1.9)
    ids = likeliest(folder, TEXT, 12)
    tokenizer = load_tokenizer(folder)
    whole = tokenizer.decode(tokenizer(TEXT)["input_ids"] + ids, skip_special_tokens=True)
    said = generate(folder, TEXT, tokens=12)
    assert TEXT + said == whole.rstrip("\ufffd")
    assert said


def test_every_token_that_ends_a_text_stops_it(folder: Path) -> None:
    set_generation(folder)
    ids = likeliest(folder, TEXT, 12)
    tokenizer = load_tokenizer(folder)
    stop = next(n for n in range(3, 12) if ids[n] not in ids[:n])
    prompt = tokenizer(TEXT)["input_ids"]
    for ends in (ids[stop], [0, ids[stop]], [ids[stop], 0]):
        set_generation(folder, eos_token_id=ends)
        said = generate(folder, TEXT, tokens=12)
        assert TEXT + said == tokenizer.decode(prompt + ids[: stop + 1]).rstrip("\ufffd")
    set_generation(folder)
    assert len(generate(folder, TEXT, tokens=12)) > len(said)


def test_draws_follow_the_seed_and_the_temperature(folder: Path) -> None:
    set_generation(folder)
    drawn = [generate(folder, TEXT, tokens=20, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert generate(folder, TEXT, tokens=20, temperature=1e-4, seed=5) == generate(folder, TEXT, tokens=20)


def test_what_cannot_be_done_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a run"):
        generate(tmp_path, TEXT)
    with pytest.raises(DataError, match="64 positions"):
        generate(folder, TEXT, tokens=64)
    with pytest.raises(ConfigError, match="temperature"):
        generate(folder, TEXT, temperature=-1.0)
    with pytest.raises(ConfigError, match="at least 1"):
        generate(folder, TEXT, tokens=0)
    assert generate(folder, "", tokens=3) is not None  # begins with the tokenizer's own end of a text


def test_a_run_says_what_its_export_says(tmp_path: Path, capsys) -> None:
    write_corpus(tmp_path / "text")
    write_tokenizer(tmp_path / "tokenizer")
    assert pinisi("tokenize", str(tmp_path / "text"), "--tokenizer", str(tmp_path / "tokenizer"), "--out",
                  str(tmp_path / "shards"), "--workers", "1").returncode == 0  # fmt: skip
    (tmp_path / "run.toml").write_text(CONFIG.format(folder=tmp_path))
    done = pinisi("train", str(tmp_path / "run.toml"), "pipeline.ranks=1", "run.steps=3")
    assert done.returncode == 0, done.stderr
    assert pinisi("export", str(tmp_path / "run"), "--out", str(tmp_path / "out")).returncode == 0
    capsys.readouterr()
    said = []
    for source in ("run", "out"):
        assert pinisi("generate", str(tmp_path / source), TEXT, "--tokens", "9").returncode == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == TEXT + generate(tmp_path / "out", TEXT, tokens=9) + "\n"
