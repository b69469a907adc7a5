"""Malformed chats, each with its documented outcome, and the columns of known data sets."""

from __future__ import annotations

import json

import pytest

from pinisi.data.conversations.columns import chat_of, pair_of
from pinisi.data.conversations.messages import RejectedChat, checked

from .made import CALL, assistant, chat, hi, user

SYSTEM = {"role": "system", "content": "S"}
RESULT = {"role": "tool", "content": "2"}
REJECTED = {
    "two answers in a row": chat(user("a"), assistant("b"), assistant("c")),
    "system in the middle": chat(user("a"), SYSTEM, assistant("b")),
    "unknown role": chat(user("a"), {"role": "wizard", "content": "b"}),
    "empty answer": chat(user("a"), assistant(" \n")),
    "empty user turn": chat(user(""), assistant("b")),
    "content is null": chat(user("a"), assistant(None)),
    "content is no text": chat(user([{"type": "image_url", "image_url": "x"}]), assistant("b")),
    "a tool result without a call": chat(user("a"), RESULT, assistant("b")),
    "no answer": chat(user("a")),
    "no messages": chat(),
    "broken tool call": chat(user("a"), assistant(None, tool_calls=[{"function": {"arguments": "{}"}}])),
    "a think block without an end": chat(user("a"), assistant("<think>b")),
    "no chat's columns": {"text": "a"},
    "no object": [1],
    "a pair of answers": {"prompt": "a", "chosen": "b", "rejected": "c"},
}
# as LLaMA-Factory's and Intel's sets of pairs have them: the prompt isn't in a column of that name
PROMPTS = {
    "turns": {
        "conversations": [
            {"from": "system", "value": "s"},
            {"from": "human", "value": "a"},
            {"from": "gpt", "value": "b"},
            {"from": "human", "value": "q"},
        ]
    },
    "instruction": {"system": "s", "history": [["a", "b"]], "instruction": "q", "input": ""},
    "question": {"system": "s", "history": [["a", "b"]], "question": "q"},
}


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_pairs_prompt_is_found_in_other_columns(kind):
    record = {**PROMPTS[kind], "chosen": {"from": "gpt", "value": "y"}, "rejected": "n"}
    pair = pair_of(record)
    shared = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "q")]
    for side, answer in zip(pair, "yn", strict=True):
        assert [(turn.role, turn.content) for turn in side.messages] == [*shared, ("assistant", answer)]
    with pytest.raises(RejectedChat) as error:
        chat_of(record)
    assert error.value.reason == "a pair of answers"


@pytest.mark.parametrize("more", [{}, {"system": "s"}])
def test_answers_without_a_prompt_are_no_pair(more):
    with pytest.raises(RejectedChat) as error:
        pair_of({"chosen": "y", "rejected": "n", **more})
    assert error.value.reason == "no prompt"


@pytest.mark.parametrize("reason", REJECTED)
def test_malformed_chats_are_rejected_by_name(reason):
    with pytest.raises(RejectedChat) as error:
        checked(chat_of(REJECTED[reason]))
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "record",
    [
        chat(user("a"), assistant(None, tool_calls=[CALL, CALL]), RESULT, RESULT, assistant("b")),
        chat(user("a"), user("b"), assistant("c")),
        chat(SYSTEM, user("a"), assistant("b")),
    ],
    ids=["tool results in a row", "two user turns", "system first"],
)
def test_what_is_accepted(record):
    assert len(checked(chat_of(record)).messages) == len(record["messages"])


def test_turns_behind_the_last_answer_are_left_out():
    assert [m.content for m in checked(chat_of(chat(user("a"), assistant("b"), user("c")))).messages] == [
        "a",
        "b",
    ]


TURNS = [("user", "hi"), ("assistant", "yo")]
SAME = [
    hi(),
    {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
    {"prompt": "hi", "completion": "yo"},
    {"prompt": [user("hi")], "completion": [assistant("yo")]},
    {"prompt": json.dumps([user("hi")]), "completion": "yo"},
    {"instruction": "hi", "input": "", "output": "yo"},
    {"instruction": "hi", "context": "", "response": "yo", "category": "x"},
    {"question": "hi", "answer": "yo"},
    {"inputs": "hi", "targets": "yo"},
    {"prompt": "hi", "response": "yo"},
    chat(user([{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]), assistant("yo")),
]


@pytest.mark.parametrize("record", SAME, ids=lambda record: ",".join(record))
def test_columns_of_known_data_sets(record):
    assert [(m.role, m.content) for m in chat_of(record).messages] == TURNS


def test_alpaca_input_history_and_system():
    found = chat_of(
        {"instruction": "add", "input": "1 2", "output": "3", "history": [["a", "b"]], "system": "S"}
    )
    assert [m.content for m in found.messages] == ["S", "a", "b", "add\n\n1 2", "3"]


def test_sharegpt_tools_and_calls():
    found = chat_of(
        {
            "conversations": [
                {"from": "human", "value": "1?"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "2"},
                {"from": "gpt", "value": "2"},
            ],
            "tools": '[{"name": "add"}]',
            "system": "S",
        }
    )
    assert [m.role for m in found.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert found.messages[2].tool_calls == (CALL,)
    assert found.tools == ({"type": "function", "function": {"name": "add"}},)


def test_arguments_that_are_text_become_an_object():
    call = {"id": "x", "function": {"name": "add", "arguments": '{"a": 1}'}}
    found = chat_of(chat(user("a"), assistant(None, tool_calls=[call])))
    assert found.messages[1].tool_calls[0]["function"]["arguments"] == {"a": 1}


def test_a_json_list_as_a_users_text_stays_text():
    assert chat_of({"prompt": '[{"a": 1}]', "completion": "yo"}).messages[0].content == '[{"a": 1}]'


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "hi", "chosen": "a", "rejected": "b"},
        {"prompt": [user("hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
        {"chosen": [user("hi"), assistant("a")], "rejected": [user("hi"), assistant("b")]},
        {"prompt": "hi", "chosen": [user("hi"), assistant("a")], "rejected": [user("hi"), assistant("b")]},
    ],
    ids=["texts", "turns", "no prompt", "the prompt twice"],
)
def test_pairs(record):
    pair = pair_of(record)
    assert [m.content for m in pair.chosen.messages] == ["hi", "a"]
    assert [m.content for m in pair.rejected.messages] == ["hi", "b"]


def test_a_pair_of_two_prompts_is_rejected():
    with pytest.raises(RejectedChat, match="two prompts"):
        pair_of({"chosen": [user("hi"), assistant("a")], "rejected": [user("ho"), assistant("b")]})
