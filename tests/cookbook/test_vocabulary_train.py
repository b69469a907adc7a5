"""Trained tokenizers: what their tokens may be, and what they take over."""

import json

import pytest
import regex
from transformers import AutoTokenizer

from pinisi.base.errors import DataError
from pinisi.cookbook.vocabulary import train_tokenizer
from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.bpe_file import read_bpe
from pinisi.data.vocabulary.train import TrainOptions, train

from ..data.made_tokenizers import made, unigram
from .made_models import drawn_texts, reading

LANGUAGES = ("my", "km", "lo", "th", "id", "en", "zh")
TEXTS = {language: drawn_texts(language, 80) for language in LANGUAGES}


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_a_trained_tokenizer_gives_every_text_back_and_cuts_no_cluster(tmp_path, kind) -> None:
    base = made(tmp_path / "base", kind)
    out = train_tokenizer(base, reading(TEXTS), tmp_path / "out", TrainOptions(900), report=lambda line: None)
    one, two = AutoTokenizer.from_pretrained(base), AutoTokenizer.from_pretrained(out)
    assert one.all_special_tokens == two.all_special_tokens
    assert one.chat_template == two.chat_template
    assert len(two) <= 900
    backend, first = load_tokenizer(out).backend_tokenizer, load_tokenizer(base).backend_tokenizer
    for language in LANGUAGES:
        for text in drawn_texts(language, 20, seed=5):
            encoding = backend.encode(text, add_special_tokens=False)
            assert backend.decode(encoding.ids) == text
    before, after = first.encode("Ia 123"), backend.encode("Ia 123")  # what stands in front, too
    added = {each.content for each in first.get_added_tokens_decoder().values()}
    assert [each for each in before.tokens if each in added] == [
        each for each in after.tokens if each in added
    ]
    assert [each for each in backend.encode("2024", add_special_tokens=False).tokens] == list("2024")
    joined = 0
    for piece in read_bpe(out).pieces:
        if piece in added:
            continue
        text = read_bpe(out).bytes_of(piece).decode("utf-8", "replace")
        if "\ufffd" in text:  # part of one character
            assert len(read_bpe(out).bytes_of(piece)) < 4
        elif regex.match(r"\p{M}", text):
            assert len(regex.findall(r"\X", text)) == 1 or regex.fullmatch(r"\p{M}+", text)
        else:
            joined += len(text) > 1
    assert joined > 100


def test_the_same_text_gives_the_same_bytes_in_any_order(tmp_path) -> None:
    base = made(tmp_path / "base", "qwen")
    files = []
    for name, texts in (
        ("one", TEXTS),
        ("two", {key: list(reversed(TEXTS[key])) for key in reversed(LANGUAGES)}),
    ):
        train_tokenizer(base, reading(texts), tmp_path / name, TrainOptions(700), report=lambda line: None)
        files.append((tmp_path / name / "tokenizer.json").read_bytes())
    assert files[0] == files[1]


def test_a_control_token_is_never_a_piece(tmp_path) -> None:
    base = made(tmp_path / "base", "qwen")
    texts = {"en": ["<think> <|im_end|> §tool§ tool"] * 50}
    trained = train(read_bpe(base), reading(texts), TrainOptions(600), report=lambda line: None)
    spelled = {trained.bytes_of(piece).decode("utf-8", "replace") for piece in trained.pieces}
    assert not spelled & {each["content"] for each in trained.added}


def test_what_cannot_be_trained_is_said(tmp_path) -> None:
    base = made(tmp_path / "base", "qwen")
    for texts, size, what in (
        (TEXTS, 260, "no room"),
        ({"en": [""]}, 900, "no text"),
        ({"en": ["ab"]}, 900, "twice"),
    ):
        with pytest.raises(DataError, match=what):
            train(read_bpe(base), reading(texts), TrainOptions(size), report=lambda line: None)
    with pytest.raises(DataError, match="Unigram"):
        read_bpe(unigram(tmp_path / "unigram"))
    with pytest.raises(DataError, match="byte-level"):
        train(read_bpe(made(tmp_path / "gemma", "gemma")), reading(TEXTS), TrainOptions(900))
    path = base / "tokenizer.json"
    path.write_text(json.dumps({"model": {}}))
    with pytest.raises(DataError, match="only byte-pair"):
        read_bpe(base)
