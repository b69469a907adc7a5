"""Trimming to little text, where most steps on the way to a token are no token of the text."""

import pytest
from tokenizers import Tokenizer

from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.bpe_file import json_of, read_bpe
from pinisi.data.vocabulary.trim import closed, trim

from ..conftest import TEXTS, write_tokenizer
from ..made_tokenizers import made


@pytest.mark.parametrize("kind", ["qwen", "gemma", "large"])
def test_one_text_alone_is_encoded_as_before(tmp_path, kind) -> None:
    folder = write_tokenizer(tmp_path, 1200) if kind == "large" else made(tmp_path, kind)
    old, steps = read_bpe(folder), 0
    backend = load_tokenizer(folder).backend_tokenizer
    for text in (text for of in TEXTS.values() for text in of):
        trimmed = trim(old, {"x": lambda text=text: iter([text])}, report=lambda line: None)
        before = backend.encode(text)
        after = Tokenizer.from_str(json_of(trimmed.tokenizer)).encode(text)
        assert after.tokens == before.tokens
        assert after.ids == [trimmed.new_id[id] for id in before.ids]
        used = {old.names[id] for id in before.ids}
        steps += len(closed(used, old) - used)
    assert steps > 100  # that the text doesn't use, and its tokens need
