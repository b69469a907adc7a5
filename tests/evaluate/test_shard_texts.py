"""Loss on token shards: the same tokens and bytes as of the text that they were made of, for tokenizers with and without BOS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.cli import main
from pinisi.data import tokenize
from pinisi.evaluate.language_loss import loss_texts
from pinisi.evaluate.model_source import held_out_shards
from pinisi.evaluate.shard_texts import shard_texts
from tests.data.conftest import TEXTS, write_corpus, write_tokenizer
from tests.evaluate.conftest import VOCABULARY


def begun(folder: Path) -> Path:
    """A tokenizer that puts a token before each text."""
    write_tokenizer(folder)
    given = json.loads((folder / "tokenizer_config.json").read_text())
    told = {**given, "bos_token": "<|end|>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("make", [write_tokenizer, begun])
def test_shards_are_what_their_text_is(make, tmp_path) -> None:
    tokenizer = make(tmp_path / "tokenizer")
    folder = write_corpus(tmp_path / "text")
    tokenize(folder, tokenizer, tmp_path / "shards", report=lambda _: None)
    for longest, limit in ((4096, None), (13, None), (13, 2)):
        ours = shard_texts("a", tmp_path / "shards", tokenizer, VOCABULARY, longest, limit)
        theirs = loss_texts("a", folder, tokenizer, VOCABULARY, longest, limit)
        assert [each.language for each in ours] == sorted(TEXTS)
        for text, other in zip(ours, theirs, strict=True):
            assert text.ids == other.ids and text.ends == other.ends
            assert text.continuations == other.continuations
            if limit is None:
                assert sum(text.bytes) == sum(other.bytes)
            # a first token that ends within a letter leaves a rest that is no text
            most = 0 if make is begun or text.language in ("id", "ceb") else 8
            assert all(abs(a - b) <= most for a, b in zip(text.bytes, other.bytes, strict=True))


def test_the_command_takes_shards_and_a_runs_own_held_out_ones(model, tmp_path, capsys) -> None:
    texts = {language: TEXTS[language] for language in ("id", "th")}
    folder = write_corpus(tmp_path / "text", texts)
    tokenize(folder, model, tmp_path / "shards", report=lambda _: None)
    out = tmp_path / "out.json"
    given = ["--text", f"text={folder}", "--shards", f"web={tmp_path / 'shards'}", "--dtype", "float64"]
    assert main(["evaluate", str(model), *given, "--out", str(out)]) == 0
    losses = {(each["component"], each["language"]): each for each in json.loads(out.read_text())["losses"]}
    assert set(losses) == {(component, language) for component in ("text", "web") for language in texts}
    for language in texts:
        text, web = losses["text", language], losses["web", language]
        assert web["samples"]["ids"] == text["samples"]["ids"] and web["bytes"] == text["bytes"]
        for measure in ("bits_per_byte", "perplexity"):
            assert web["scores"][measure]["value"] == pytest.approx(
                text["scores"][measure]["value"], rel=1e-12
            )
            low, value, high = (web["scores"][measure][key] for key in ("low", "value", "high"))
            assert low <= value <= high
    # a run says where its held-out text is; what is no run of ours, or has none, is named
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no run with held-out"):
        held_out_shards(run)
    (run / "config.toml").write_text(f'[data]\nevaluation = "{tmp_path / "shards"}"\n')
    for path in (run, run / "checkpoints" / "step-00000001"):
        assert held_out_shards(path) == str(tmp_path / "shards")
    assert main(["evaluate", str(model), "--held-out"]) == 2
    assert "no run with held-out" in capsys.readouterr().err
    assert (
        main(["evaluate", str(model), "--shards", f"a={tmp_path / 'shards'}", "--text", f"a={folder}"]) == 2
    )
    assert "both called a" in capsys.readouterr().err


def test_shards_of_another_tokenizer_or_damaged_ones_are_named(tmp_path) -> None:
    small = write_tokenizer(tmp_path / "small", 300)
    large = write_tokenizer(tmp_path / "large")
    tokenize(
        write_corpus(tmp_path / "text", {"id": TEXTS["id"]}),
        large,
        tmp_path / "shards",
        report=lambda _: None,
    )
    with pytest.raises(DataError, match="made with another tokenizer"):
        shard_texts("a", tmp_path / "shards", small, VOCABULARY, 99)
    with pytest.raises(DataError, match="rows"):
        shard_texts("a", tmp_path / "shards", large, 301, 99)
    (file,) = (tmp_path / "shards").rglob("id.tokens")
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="tokenize again"):
        shard_texts("a", tmp_path / "shards", large, VOCABULARY, 99)
