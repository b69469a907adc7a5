"""The report on a vocabulary, against counts that are made another way; and the command."""

import json
from itertools import accumulate

import pytest
from safetensors.torch import load_file, save_file

from pinisi.cli import main
from pinisi.cookbook.vocabulary_report import report_lines, vocabulary_report
from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.bpe_file import read_bpe

from ..data.conftest import TEXTS, write_corpus
from .made_models import ROWS, tiny_model


def split_bytes(text: str, tokens: list[bytes]) -> int:
    """Bytes of characters inside of which a token ends."""
    assert b"".join(tokens) == text.encode()
    ends = set(accumulate(map(len, tokens)))
    starts = accumulate((len(char.encode()) for char in text), initial=0)
    sizes = [(start, len(char.encode())) for start, char in zip(starts, text, strict=False)]
    return sum(size for start, size in sizes if any(start + inside in ends for inside in range(1, size)))


def test_the_report_counts_what_is_there(tmp_path) -> None:
    model = tiny_model(tmp_path / "model", "qwen3", "qwen", tied=True)
    corpus = write_corpus(tmp_path / "text")
    weights = load_file(model / "model.safetensors")
    size = len(load_tokenizer(model))
    weights["model.embed_tokens.weight"][size:] *= (
        0.01  # rows without a token, and two with one, have not learned
    )
    weights["model.embed_tokens.weight"][[70, 300]] *= 0.009
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    result = vocabulary_report(model, corpus, reference="id")
    backend = load_tokenizer(model).backend_tokenizer
    used = {
        language: {id for text in of for id in backend.encode(text).ids} for language, of in TEXTS.items()
    }
    everything = set().union(*used.values())
    assert result["unused"] == sorted(set(load_tokenizer(model).get_vocab().values()) - everything)
    for language, ids in used.items():
        found = result["languages"][language]
        others = set().union(*(other for name, other in used.items() if name != language))
        assert (found["distinct"], found["own"]) == (len(ids), len(ids - others))
    file = read_bpe(model)
    for language in ("my", "lo", "vi"):
        split = sum(
            split_bytes(text, [file.bytes_of(token) for token in backend.encode(text).tokens])
            for text in TEXTS[language]
        )
        total = sum(len(text.encode()) for text in TEXTS[language])
        assert result["languages"][language]["fallen"] == pytest.approx(split / total)
    assert result["languages"]["lo"]["fallen"] > 0
    assert result["languages"]["id"]["fallen"] == 0
    assert result["rows"]["untrained"] == [70, 300]
    assert result["rows"]["without_token"] == ROWS - size
    assert any("2 tokens hardly trained" in line for line in report_lines(result))
    assert result["fertility"]["languages"]["id"]["tokenizers"]["vocabulary"]["cost"] == 1


def test_the_commands(tmp_path, capsys) -> None:
    model = str(tiny_model(tmp_path / "model", "llama", "llama", tied=False))
    corpus = str(write_corpus(tmp_path / "text", {key: of * 3 for key, of in TEXTS.items()}))
    out = [str(tmp_path / name) for name in ("trained", "trimmed", "extended")]
    assert (
        main(["vocabulary", "train", model, corpus, "--size", "500", "--out", out[0], "--held-out", corpus])
        == 0
    )
    assert (
        main(
            [
                "vocabulary",
                "trim",
                model,
                corpus,
                "--languages",
                "my,id",
                "--out",
                out[1],
                "--held-out",
                corpus,
            ]
        )
        == 0
    )
    assert main(["vocabulary", "extend", model, corpus, "--tokens", "30", "--out", out[2]]) == 0
    assert main(["vocabulary", "report", out[2], corpus, "--json", str(tmp_path / "report.json")]) == 0
    told = capsys.readouterr().out
    assert "of the softmax" in told
    assert "0 decoded otherwise" in told
    assert json.loads((tmp_path / "report.json").read_text())["rows"]["rows"] == ROWS
    assert main(["vocabulary", "extend", model, corpus, "--tokens", "30", "--languages", "xx"]) == 2
    assert "no text in xx" in capsys.readouterr().err
