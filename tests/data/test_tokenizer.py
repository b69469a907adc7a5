"""Loading a tokenizer and checking it against a model; a tiktoken list turned into the same tokenizer."""

import base64
import json
import zipfile

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from pinisi.base.errors import DataError
from pinisi.data import check_vocabulary, end_of_document_id, fetch_tokenizer, load_tokenizer, vocabulary_size
from pinisi.data.tokenizer_source import ALPHABET, merges

from .conftest import TEXTS, write_tokenizer


def test_size_is_the_highest_id_plus_one(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    size = vocabulary_size(tokenizer)
    assert size == max(tokenizer.get_vocab().values()) + 1
    check_vocabulary(tokenizer, size)
    check_vocabulary(tokenizer, size + 100)
    with pytest.raises(DataError) as error:
        check_vocabulary(tokenizer, size - 1)
    assert str(size) in str(error.value) and str(size - 1) in str(error.value)
    assert repr(tokenizer.convert_ids_to_tokens(size - 1)) in str(error.value)


def test_end_of_document(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    assert end_of_document_id(tokenizer) == tokenizer.get_vocab()["<|end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    assert end_of_document_id(tokenizer) == tokenizer.get_vocab()["<|endoftext|>"]


def test_tokenizer_json_alone_is_enough_but_has_no_end_token(tmp_path, tokenizer_folder):
    (tmp_path / "tokenizer.json").write_bytes((tokenizer_folder / "tokenizer.json").read_bytes())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer("Kapal pinisi")["input_ids"]) == "Kapal pinisi"
    with pytest.raises(DataError, match="end-of-text"):
        end_of_document_id(tokenizer)


@pytest.mark.parametrize("broken", [None, "{", '{"version": "1.0"}'])
def test_missing_or_broken_tokenizer(tmp_path, broken):
    if broken is not None:
        (tmp_path / "tokenizer.json").write_text(broken)
    with pytest.raises(DataError, match=str(tmp_path)):
        load_tokenizer(tmp_path)


def test_broken_config(tmp_path):
    (write_tokenizer(tmp_path) / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config\.json is not JSON"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(DataError, match=r"tokenizer_config\.json holds a list, needed one JSON object"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "named",
    ["GPT2Tokenizer", "Qwen2TokenizerFast", "GemmaTokenizer", "BertTokenizer", "T5Tokenizer", "Nobodys"],
)
def test_a_text_has_the_tokens_of_tokenizer_json_whatever_class_is_named(tmp_path, named):
    """GPT-2's class would drop the digits' splitting and the normalizer, others fail."""
    file = str(write_tokenizer(tmp_path) / "tokenizer.json")
    described = Tokenizer.from_file(file)
    described.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    described.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), described.pre_tokenizer]
    )
    described.save(file)
    settings = {"tokenizer_class": named, "eos_token": "<|end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(tmp_path)
    for text in ("SEMUA Orang 1945", "Ａ １２"):
        assert tokenizer(text).input_ids == described.encode(text).ids
    assert tokenizer.get_vocab() == described.get_vocab()  # nothing was added
    assert tokenizer.eos_token == "<|end|>"


def test_merges_are_recovered_from_ranks(tokenizer_folder):
    """A trained tokenizer's own merges are the reference; ranks are what a .tiktoken file has."""
    model = json.loads((tokenizer_folder / "tokenizer.json").read_text())["model"]
    letters = {letter: bytes([byte]) for byte, letter in enumerate(ALPHABET)}
    order = [token for token in model["vocab"] if len(token) == 1] + [
        "".join(pair) for pair in model["merges"]
    ]
    ranks = {b"".join(letters[letter] for letter in token): rank for rank, token in enumerate(order)}
    assert merges(ranks) == [tuple(pair) for pair in model["merges"]]


def test_tokenizer_from_a_tiktoken_list(tmp_path, tokenizer_folder):
    """Made by the code that reads the pip package: every text comes back, the specials follow the list."""
    model = json.loads((tokenizer_folder / "tokenizer.json").read_text())["model"]
    letters = {letter: bytes([byte]) for byte, letter in enumerate(ALPHABET)}
    order = [token for token in model["vocab"] if len(token) == 1] + [
        "".join(pair) for pair in model["merges"]
    ]
    lines = [
        f"{base64.b64encode(b''.join(letters[letter] for letter in token)).decode()} {rank}"
        for rank, token in enumerate(order)
    ]
    (tmp_path / "cache").mkdir()
    with zipfile.ZipFile(tmp_path / "cache" / "dashscope-2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("dashscope/resources/qwen.tiktoken", "\n".join(lines))
    fetch_tokenizer(tmp_path / "t", sources=("pip",), cache=tmp_path / "cache", report=lambda line: None)
    tokenizer = load_tokenizer(tmp_path / "t")
    assert (
        end_of_document_id(tokenizer)
        == len(order)
        == Tokenizer.from_file(str(tmp_path / "t" / "tokenizer.json")).token_to_id("<|endoftext|>")
    )
    for texts in TEXTS.values():
        for text in texts:
            ids = tokenizer.backend_tokenizer.encode(text).ids
            assert tokenizer.decode(ids) == text
            assert len(ids) <= len(text.encode())


def test_a_tokenizer_with_code_of_its_own_is_refused_without_asking(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    folder = write_tokenizer(tmp_path / "t")
    config = {
        "tokenizer_class": "XTokenizer",
        "auto_map": {"AutoTokenizer": [None, "tokenization_x.XTokenizer"]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "tokenization_x.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(DataError, match="code of its own"):
        load_tokenizer(folder)
