"""What does not decode back is counted and named, with tokenizers that normalise, strip and forget."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from pinisi.base.errors import DataError
from pinisi.data import Document, TokenShards, tokenize, write_documents
from pinisi.data.roundtrip import Altered, differs_at, why

from .conftest import TEXTS, write_tokenizer


def normalising(folder, *steps):
    write_tokenizer(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Sequence(list(steps))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def corpus_of(folder, texts):
    write_documents(folder / "vi.jsonl", (Document(f"d{n}", text, "vi") for n, text in enumerate(texts)))
    return folder


def quiet(line: str) -> None:
    pass


NFD = unicodedata.normalize("NFD", "Tất cả mọi người")
# texts, what the tokenizer does, reason -> (how many, first document, character)
CASES = {
    "NFC": ([TEXTS["vi"][0], NFD, "Phở " + NFD], [normalizers.NFC()], {"NFC": (2, "d1", 1)}),
    "NFKC": (["abc", "só ① ﬁn"], [normalizers.NFKC()], {"NFKC": (1, "d1", 3)}),
    "white space": (["a b", " a  b"], [normalizers.Replace(" ", "")], {"white space": (2, "d0", 1)}),
    "other": (["abc", "aBc", "ABC"], [normalizers.Lowercase()], {"other": (2, "d1", 1)}),
    "two reasons": (
        [NFD, "x", "Y"],
        [normalizers.NFC(), normalizers.Lowercase()],
        {"other": (2, "d0", 0)},
    ),
    "nothing": (TEXTS["vi"], [], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_altered_documents_are_counted_by_reason(tmp_path, name):
    texts, steps, expected = CASES[name]
    tokenizer, corpus = normalising(tmp_path / "t", *steps), corpus_of(tmp_path / "c", texts)
    said: list[str] = []
    index = tokenize(corpus, tokenizer, tmp_path / "s", report=said.append)
    assert said.pop().endswith(f"documents in 1 language: {tmp_path}/s")
    altered = index["languages"]["vi"]["altered"]
    found = {why: (each["documents"], each["first"], each["character"]) for why, each in altered.items()}
    assert found == expected
    assert TokenShards(tmp_path / "s").counts("vi")["altered"] == altered
    number = sum(count for count, _, _ in expected.values())
    line = f"vi: {number} of {len(texts)} documents do not decode back to their text: "
    assert [line in each for each in said] == [True] * bool(expected)
    again: list[str] = []
    tokenize(corpus, tokenizer, tmp_path / "s", report=again.append)
    assert again[1:] == said and "up to date" in again[0]


def test_strict_names_the_document_and_keeps_what_was_there(tmp_path):
    texts, steps, _ = CASES["NFC"]
    tokenizer, corpus = normalising(tmp_path / "t", *steps), corpus_of(tmp_path / "c", texts)
    with pytest.raises(DataError, match=r"vi: 2 of 3 .* NFC 2 \(first: document d1 from character 1:"):
        tokenize(corpus, tokenizer, tmp_path / "s", strict=True, report=quiet)
    assert not (tmp_path / "s").exists()
    tokenize(corpus, tokenizer, tmp_path / "s", report=quiet)
    with pytest.raises(DataError, match="document d1"):  # also where they are made already
        tokenize(corpus, tokenizer, tmp_path / "s", strict=True, report=quiet)
    other = corpus_of(tmp_path / "d", TEXTS["vi"])
    tokenize(other, tokenizer, tmp_path / "u", strict=True, report=quiet)


def test_a_tokenizer_without_a_decoder_is_seen(tmp_path, corpus):
    folder = write_tokenizer(tmp_path / "t")
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, "decoder": None}))
    index = tokenize(corpus, folder, tmp_path / "s", report=quiet)
    for language, texts in TEXTS.items():
        altered = index["languages"][language]["altered"]
        assert sum(each["documents"] for each in altered.values()) == len(texts)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aé\u0301 e\n①", max_size=12), st.text(alphabet="aé\u0301 e\n①", max_size=12))
def test_reasons_against_their_definition(text, decoded):
    altered = Altered()
    altered.add("d", text, decoded)
    assert bool(altered.reasons) == (text != decoded)
    if text != decoded:
        at = differs_at(text, decoded)
        assert text[:at] == decoded[:at] and text[at : at + 1] != decoded[at : at + 1]
        reason = why(text, decoded)
        if reason in ("NFC", "NFD", "NFKC", "NFKD"):
            assert unicodedata.normalize(reason, text) == decoded
        if reason == "white space":
            assert [c for c in text if not c.isspace()] == [c for c in decoded if not c.isspace()]
