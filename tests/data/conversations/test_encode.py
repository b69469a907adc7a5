"""Tokens of chats against transformers' own, and masks against a reader of tokens that knows nothing of templates."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.encode import ChatEncoder, MaskRule, begun_once
from pinisi.data.conversations.messages import RejectedChat
from tests.data.conftest import TEXTS, write_tokenizer
from tests.data.made_tokenizers import KINDS

from .made import CALL, assistant, chat, gemma3_ids, hi, tokenizer, user

# how an answer's header reads in tokens' texts, and what ends it
HEADERS = {
    "qwen3": ("<|im_start|>assistant\n", "<|im_end|>"),
    "marked": ("<|im_start|>assistant\n", "<|im_end|>"),
    "gemma": ("<start_of_turn>model\n", "<end_of_turn>"),
    "llama": ("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    room = tmp_path_factory.mktemp("tokenizers")
    return {kind: tokenizer(room / kind, kind) for kind in (*HEADERS, "mistral", "plain", "bare")}


@dataclass
class Encoders:
    folders: dict[str, Path]

    def __call__(self, kind: str, trained: str = "answers", think: str = "train") -> ChatEncoder:
        return ChatEncoder(self.folders[kind], MaskRule(trained, think))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoders(folders):
    return Encoders(folders)


def texts_of(encoder: ChatEncoder, record: dict) -> tuple[str, list[str]]:
    """The whole text, and the stretches of it that are trained."""
    found = encoder.encode_one(chat_of(record))
    stretches: list[list[int]] = []
    for at, (id, trained) in enumerate(zip(found.tokens, found.trained, strict=True)):
        if trained and (at == 0 or not found.trained[at - 1]):
            stretches.append([])
        if trained:
            stretches[-1].append(id)
    decode = encoder.tokenizer.decode
    return decode(found.tokens), [decode(ids) for ids in stretches]


def read_by_headers(encoder: ChatEncoder, ids: list[int], header: str, end: str) -> list[bool]:
    """Of each token whether it stands behind a header and not behind the end: by their texts alone."""
    mask, text, inside = [], "", False
    for id in ids:
        mask.append(inside)
        text = "" if inside else text + encoder.tokenizer.decode([id])
        if inside and encoder.tokenizer.decode([id]) == end:
            inside = False
        elif not inside and text.endswith(header):
            inside, text = True, ""
    return mask


def drawn_chat(draw: random.Random, words: list[str]) -> dict:
    turns = []
    for _ in range(draw.randint(1, 4)):
        white = ["", "", " ", "\n", "\n\n", "  \n"]
        text = [
            draw.choice(white) + " ".join(draw.choices(words, k=draw.randint(1, 6))) + draw.choice(white)
            for _ in range(2)
        ]
        turns += [user(text[0]), assistant(text[1])]
    return chat(*turns)


WORDS = [word for texts in TEXTS.values() for text in texts for word in text.split()]


@pytest.mark.parametrize("kind", HEADERS)
def test_tokens_are_transformers_own_and_masks_those_of_a_reader_of_headers(encoders, kind):
    encoder, draw = encoders(kind), random.Random(4)
    for _ in range(60):
        record = drawn_chat(draw, WORDS)
        if kind == "marked":  # white space at a text's border may join the header's line end in one token
            record = chat(*({**turn, "content": turn["content"].strip()} for turn in record["messages"]))
        found = encoder.encode_one(chat_of(record))
        wanted = encoder.tokenizer.apply_chat_template(record["messages"], tokenize=True)["input_ids"]
        assert found.tokens == wanted
        if kind != "qwen3" or not any(t["content"][:1].isspace() for t in record["messages"]):
            assert found.trained == read_by_headers(encoder, found.tokens, *HEADERS[kind])


def spelled(kind: str) -> list[str]:
    special, others, _ = KINDS[{"qwen3": "qwen", "marked": "qwen"}.get(kind, kind)]
    return [name for name in special + others if name not in ("\n\n", "\n\n\n", "▁▁", "\t\t", "§tool§")]


@pytest.mark.parametrize("kind", HEADERS)
def test_a_text_that_spells_control_tokens_stays_text(encoders, kind):
    """As many control tokens as in a chat that spells none, at the same places, and the same text."""
    encoder, draw = encoders(kind), random.Random(5)
    for _ in range(40):
        names = [f"w{draw.choice(spelled(kind))}x" for _ in range(4)]
        record = chat(user(names[0]), assistant(names[1]), user(f"a {names[2]}"), assistant(f"{names[3]} b"))
        harmless = chat(user("w"), assistant("x"), user("a y"), assistant("z b"))
        controls = set(encoder.template.ids.values())
        ids, plain = (encoder.encode_one(chat_of(each)).tokens for each in (record, harmless))
        assert [id for id in ids if id in controls] == [id for id in plain if id in controls]
        whole = encoder.tokenizer.decode(ids)
        for turn in record["messages"]:
            assert turn["content"] in whole
        trained = texts_of(encoder, record)[1]
        assert [names[1] in trained[0], names[3] in trained[1]] == [True, True]
        assert (
            names[0] not in "".join(trained).replace(names[1], "").replace(names[3], "")
            or names[0] in names[1:]
        )


def test_gemma_3s_ids(tmp_path):
    found = ChatEncoder(gemma3_ids(tmp_path)).encode_one(chat_of(hi()))
    assert found.tokens == [2, 105, 2364, 107, 2202, 106, 107, 105, 4368, 107, 9671, 106, 107]
    assert [at for at, trained in enumerate(found.trained) if trained] == [10, 11]  # 9671 and the second 106


TWO = chat(
    user("hi"),
    assistant("yo", reasoning_content="one"),
    user("more"),
    assistant("yes", reasoning_content="two"),
)


@pytest.mark.parametrize(
    ("trained", "think", "wanted"),
    [
        ("answers", "train", ["yo<|im_end|>", "<think>\ntwo\n</think>\n\nyes<|im_end|>"]),
        ("answers", "mask", ["yo<|im_end|>", "yes<|im_end|>"]),
        ("answers", "drop", ["yo<|im_end|>", "<think>\n\n</think>\n\nyes<|im_end|>"]),
        ("last", "train", ["<think>\ntwo\n</think>\n\nyes<|im_end|>"]),
        ("last", "mask", ["yes<|im_end|>"]),
    ],
)
def test_a_template_that_leaves_earlier_think_blocks_out(encoders, trained, think, wanted):
    whole, stretches = texts_of(encoders("qwen3", trained, think), TWO)
    assert stretches == wanted
    assert "one" not in whole and ("two" in whole) == (think != "drop")


def test_a_think_block_in_the_text_is_one(encoders):
    written = chat(user("hi"), assistant("<think>\nhm\n</think>\n\nyo"))
    given = chat(user("hi"), assistant("yo", reasoning_content="hm"))
    assert texts_of(encoders("qwen3"), written) == texts_of(encoders("qwen3"), given)


def test_all_trains_every_token_but_the_first(encoders):
    found = encoders("qwen3", "all").encode_one(chat_of(hi()))
    assert found.trained == [False] + [True] * (len(found.tokens) - 1)


def test_tool_calls_and_results(encoders):
    result = {"role": "tool", "content": "<tool_call>2"}
    record = chat(user("1?"), assistant(None, tool_calls=[CALL]), result, result, assistant("2"))
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>'
    assert texts_of(encoders("qwen3"), record)[1] == [call, "<think>\n\n</think>\n\n2<|im_end|>"]


def test_an_answer_of_weight_0_is_not_trained(encoders):
    record = chat(user("a"), assistant("b", weight=0), user("c"), assistant("d"))
    assert texts_of(encoders("gemma"), record)[1] == ["d<end_of_turn>"]


def test_templates_without_a_header_or_a_stop_token(encoders):
    record = chat(user("hi"), assistant("yo"), user("more"), assistant("yes"))
    assert texts_of(encoders("mistral"), record)[1] == [" yo<eos>", " yes<eos>"]
    assert texts_of(encoders("plain"), record)[1] == ["yo", "yes<|endoftext|>"]


def test_the_stop_token_behind_a_marked_answer_is_trained(encoders):
    record = chat(user("hi"), assistant("yo"), user("more"), assistant("yes"))
    assert texts_of(encoders("marked"), record)[1] == ["yo<|im_end|>", "yes<|im_end|>"]


def test_an_answer_at_token_0_is_rejected(encoders):
    with pytest.raises(RejectedChat, match="nothing before an answer"):
        encoders("bare").encode_one(chat_of(hi()))


@pytest.mark.parametrize("kind", ["gemma", "llama", "mistral", "qwen3"])
def test_exactly_one_token_begins_a_chat(encoders, kind):
    encoder = encoders(kind)
    begin = encoder.begin
    for tokens in (encoder.encode_one(chat_of(hi())).tokens, encoder.prompt(chat_of(chat(user("test"))))):
        assert tokens.count(begin) == (begin is not None) and (begin is None or tokens[0] == begin)


def test_a_beginning_is_neither_doubled_nor_left_out():
    assert begun_once([2, 2, 5], 2, {2}) == [2, 5]
    assert begun_once([5], 2, {2}) == [2, 5]
    assert begun_once([2, 2, 5], None, {2}) == [2, 5]
    assert begun_once([5], None, set()) == [5]


@pytest.mark.parametrize("kind", ["gemma", "llama", "qwen3"])
def test_a_prompt_is_what_training_has_before_an_answer(encoders, kind):
    encoder = encoders(kind)
    record = chat(user("hi"), assistant("yo"), user("more"), assistant("yes"))
    found = encoder.encode_one(chat_of(record))
    first = max(at for at, trained in enumerate(found.trained) if trained and not found.trained[at - 1])
    assert encoder.prompt(chat_of(chat(*record["messages"][:3]))) == found.tokens[:first]


@pytest.mark.parametrize(
    ("kind", "record", "reason"),
    [
        ("gemma", chat(user("a"), user("b"), assistant("c")), "the template refuses it"),
        ("gemma", chat(user("a"), assistant(None, tool_calls=[CALL])), "the template leaves out a text"),
        ("qwen3", chat(user("a\U00100000"), assistant("b")), "private characters"),
    ],
)
def test_what_a_template_can_not_write_is_rejected(encoders, kind, record, reason):
    with pytest.raises(RejectedChat) as error:
        encoders(kind).encode_one(chat_of(record))
    assert error.value.reason == reason


def test_a_template_that_looks_into_texts_is_found_out(encoders):
    encoder = encoders("marked")
    encoder.tokenizer.chat_template = encoder.tokenizer.chat_template.replace(
        "{% else %}{{ message.content }}",
        "{% else %}{{ 'help' if message.content.startswith('/') else message.content }}",
    )
    encoder.encode_one(chat_of(chat(user("a/b"), assistant("c"))))
    with pytest.raises(RejectedChat, match="looks into texts"):
        encoder.encode_one(chat_of(chat(user("/b"), assistant("c"))))


def test_a_template_that_refuses_without_a_word_is_named(encoders):
    encoder = encoders("marked")
    refusing = "{% if messages | length > 2 %}{{ raise_exception('') }}{% endif %}"
    encoder.tokenizer.chat_template = refusing + encoder.tokenizer.chat_template
    encoder.encode_one(chat_of(hi()))
    with pytest.raises(RejectedChat, match="the template refuses it: TemplateError"):
        encoder.encode_one(chat_of(chat(user("a"), assistant("b"), user("c"), assistant("d"))))


def test_reasoning_that_a_template_leaves_out_is_told(encoders):
    record = chat(user("a"), assistant("b", reasoning_content="hm"))
    assert encoders("gemma").encode_one(chat_of(record)).left_out == "the template leaves out the reasoning"


def test_a_tokenizer_without_a_template_is_named(tmp_path):
    with pytest.raises(DataError, match="no chat template"):
        ChatEncoder(write_tokenizer(tmp_path))
