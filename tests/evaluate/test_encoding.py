"""Where a continuation begins: the harness's rule over drawn texts, and what it has no answer for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pinisi.base.errors import DataError
from pinisi.data import load_tokenizer
from pinisi.evaluate.encoding import Continuation, PromptEncoder, truncated
from tests.data.conftest import TEXTS


def tokenizer_of(folder: Path, merges: list[tuple[str, str]], vocabulary: list[str], **config: str) -> Path:
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE({name: n for n, name in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.add_special_tokens(["<s>", "<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})
    )
    return folder


def test_borders_are_the_harnesss(model) -> None:
    """Its rule, written out: white space goes over, all tokens behind as many as the context alone has."""
    encoder, plain, draw = PromptEncoder(model), load_tokenizer(model), random.Random(3)
    words = [text for texts in TEXTS.values() for text in texts]
    for _ in range(300):
        context, continuation = (draw.choice(words) for _ in range(2))
        context = context[: draw.randint(1, len(context))] + draw.choice(["", " ", "\n", "  "])
        continuation = draw.choice(["", " "]) + continuation[: draw.randint(1, len(continuation))]
        bare = context.rstrip()
        if not bare:
            continue
        whole, alone = plain.encode(context + continuation), plain.encode(bare)
        found = encoder.pair(context, continuation)
        if len(whole) > len(alone):
            assert list(found.tokens) == whole
            assert found.tokens[found.first :] == tuple(whole[len(alone) :])
            assert found.merged == (whole[: len(alone)] != alone)
        assert found.scored >= 1


def test_a_continuation_that_merges_into_the_context_still_has_a_token(tmp_path) -> None:
    """'x', 'ab' and 'a' continued by 'b': the whole has no more tokens than the context."""
    folder = tokenizer_of(
        tmp_path / "t", [("a", "b")], ["x", "a", "b", "ab", " "], bos_token="<s>", eos_token="<end>"
    )
    encoder = PromptEncoder(folder)
    assert encoder.pair("xa", "b") == Continuation((0, 3), 1, True)
    # The first token is the one that differs: the prefix goes before it, since nothing else predicts it.
    assert encoder.pair("a", "b") == Continuation((5, 3), 1, True)
    assert encoder.pair("", "b") == Continuation((5, 2), 1, False)
    assert encoder.pair("x ", "b") == Continuation((0, 4, 2), 1, False)


def test_no_continuation_is_named(model) -> None:
    with pytest.raises(DataError, match="every choice needs a text"):
        PromptEncoder(model).pair("Kapal", "")


def test_text_spells_no_control_token(model) -> None:
    encoder = PromptEncoder(model)
    assert 0 not in encoder.pair("Kapal <|end|>", " pinisi <|end|>").tokens


def test_truncation_keeps_what_is_scored() -> None:
    whole = Continuation(tuple(range(10)), 7)
    assert truncated(whole, 9) is whole
    assert truncated(whole, 5) == Continuation((4, 5, 6, 7, 8, 9), 3)
    assert truncated(whole, 3) == Continuation((6, 7, 8, 9), 1)
    with pytest.raises(DataError, match="3 tokens and the model reads 2"):
        truncated(whole, 2)


def test_a_beginning_stands_once_and_a_chat_writes_its_own(tmp_path) -> None:
    from tokenizers import processors

    folder = tokenizer_of(tmp_path / "t", [], ["x", "a", "b", " "], bos_token="<s>", eos_token="<end>")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 4)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("<s>{% for m in messages %}{{ m.content }} {% endfor %}a")
    encoder = PromptEncoder(folder)
    assert encoder.pair("x", "b").tokens == (4, 0, 2)
    rendered = encoder.rendered([{"role": "user", "content": "x"}])
    assert encoder.pair(rendered, "b", chat=True).tokens == (4, 0, 3, 1, 2)
    with pytest.raises(DataError, match="<end>, which is a control token"):
        encoder.rendered([{"role": "user", "content": "x<end>"}])
