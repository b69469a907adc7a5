"""Recognises a record's columns: OpenAI's and TRL's messages, ShareGPT, Alpaca, prompt and answer, pairs of answers.

| columns | read as |
|-|-|
| messages, conversations, conversation, dialogue, turns: a list of turns | a chat; with system and tools beside it |
| prompt, completion (TRL), as texts or as turns | the prompt's turns and the completion's |
| instruction, input, output (Alpaca; also history, system) | a user's turn, instruction and input, and an answer |
| instruction, context, response (Dolly); question, answer; query, response; inputs, targets; prompt, response | alike |
| prompt, chosen, rejected, as texts or as turns; chosen and rejected alone, which begin alike | two chats: `pair_of` |
| one of the lists or questions above, chosen, rejected | alike; without a prompt they are left out |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pinisi.data.conversations.messages import Chat, ChatMessage, RejectedChat, message_of

LISTS = ("messages", "conversations", "conversation", "dialogue", "turns")
# (question, what stands beside it, answer) of data sets with one question and one answer a record
QUESTIONS = (
    ("instruction", "input", "output"),
    ("instruction", "context", "response"),
    ("question", "", "answer"),
    ("query", "", "response"),
    ("inputs", "", "targets"),
    ("prompt", "", "response"),
)


class ChatPair(NamedTuple):
    """Holds two chats that begin alike and end with another answer."""

    chosen: Chat
    rejected: Chat


def chat_of(record: Any) -> Chat:
    """Reads a record as a chat. Raises RejectedChat for one whose columns are no chat's."""
    record = _object(record)
    system, pair = _system(record), "chosen" in record and "rejected" in record
    for name in LISTS:
        if isinstance(turns := _decoded(record.get(name)), list):
            found = [message_of(turn) for turn in turns]
            if pair and found and found[-1].role != "assistant":
                break  # these turns are the prompt of two answers
            own = bool(found) and found[0].role == "system"
            return _chat(record, found if own else (*system, *found))
    if "prompt" in record and "completion" in record:
        asked, answered = (
            _as_turns(record[key], role) for key, role in (("prompt", "user"), ("completion", "assistant"))
        )
        return _chat(record, (*system, *asked, *answered))
    for question, beside, answer in QUESTIONS:
        if question in record and answer in record:
            return _chat(record, (*system, *_history(record), *_asked(record, question, beside, answer)))
    if pair:
        raise RejectedChat(
            "a pair of answers", "a chat has one: `pinisi prefer` trains on pairs; or keep chosen alone"
        )
    raise RejectedChat("no chat's columns", f"got {', '.join(map(str, list(record)[:8])) or 'none'}")


def pair_of(record: Any) -> ChatPair:
    """Reads a record as two chats, prompt with chosen and prompt with rejected. Raises RejectedChat."""
    record = _object(record)
    if "chosen" not in record or "rejected" not in record:
        raise RejectedChat("no pair's columns", f"got {', '.join(map(str, list(record)[:8])) or 'none'}")
    begun = _prompt(record)
    sides = [_as_turns(record[key], "assistant") for key in ("chosen", "rejected")]
    # of turns that stand in both sides whole, the prompt goes before only where they don't begin with it
    chats = [
        _chat(record, side if begun and side[: len(begun)] == begun else (*begun, *side)) for side in sides
    ]
    if chats[0].messages[:-1] != chats[1].messages[:-1]:
        raise RejectedChat("two prompts", "chosen and rejected must begin with the same turns")
    roles = [message.role for message in chats[0].messages]
    if roles[-1:] == ["assistant"] and set(roles[:-1]) <= {"system"}:
        raise RejectedChat("no prompt", "chosen and rejected are answers alone; give a column prompt")
    return ChatPair(chats[0], chats[1])


def _object(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise RejectedChat("no object", f"a JSON {type(record).__name__}")
    return record


def _chat(record: Mapping[str, Any], messages: Sequence[ChatMessage]) -> Chat:
    language = record.get("language") or record.get("lang") or ""
    return Chat(tuple(messages), _tools(record.get("tools")), language if isinstance(language, str) else "")


def _as_turns(value: Any, role: str) -> tuple[ChatMessage, ...]:
    """A column that holds turns, or the text of one."""
    decoded = _decoded(value)
    if isinstance(decoded, Mapping):
        return (message_of(decoded),)
    if isinstance(decoded, list) and all(isinstance(turn, Mapping) and _is_turn(turn) for turn in decoded):
        return tuple(message_of(turn) for turn in decoded)
    return (message_of({"role": role, "content": value}),)


def _is_turn(value: Mapping[str, Any]) -> bool:
    return "role" in value or "from" in value


def _system(record: Mapping[str, Any]) -> tuple[ChatMessage, ...]:
    text = record.get("system") or record.get("system_prompt")
    return (ChatMessage("system", text),) if isinstance(text, str) and text.strip() else ()


def _history(record: Mapping[str, Any]) -> list[ChatMessage]:
    """Earlier rounds, as pairs of a question and an answer."""
    rounds = _decoded(record.get("history")) or []
    if not isinstance(rounds, list) or not all(isinstance(each, list) and len(each) == 2 for each in rounds):
        raise RejectedChat("no messages", "history must be a list of pairs")
    return [
        message_of({"role": role, "content": text})
        for each in rounds
        for role, text in zip(("user", "assistant"), each, strict=True)
    ]


def _asked(record: Mapping[str, Any], question: str, beside: str, answer: str) -> list[ChatMessage]:
    said = record[answer]
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    return [_question(record, question, beside), message_of({"role": "assistant", "content": said})]


def _question(record: Mapping[str, Any], question: str, beside: str) -> ChatMessage:
    asked, more = record[question], record.get(beside) if beside else None
    if isinstance(asked, str) and isinstance(more, str) and more.strip():
        asked = f"{asked}\n\n{more}" if asked.strip() else more
    return message_of({"role": "user", "content": asked})


def _prompt(record: Mapping[str, Any]) -> tuple[ChatMessage, ...]:
    """What two answers have before them: a column prompt, turns without the answer at their end, or a question; none: a system
    turn at most."""
    system = _system(record)
    if record.get("prompt"):
        return (*system, *_as_turns(record["prompt"], "user"))
    for name in LISTS:
        if isinstance(turns := _decoded(record.get(name)), list):
            found = [message_of(turn) for turn in turns]
            while found and found[-1].role == "assistant":
                found.pop()
            return tuple(found) if found and found[0].role == "system" else (*system, *found)
    for question, beside, _ in QUESTIONS:
        if record.get(question):
            return (*system, *_history(record), _question(record, question, beside))
    return system


def _tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Schemas of tools, as a list or as its JSON; one without {"type": "function"} around it gets that."""
    found = _decoded(value)
    if found in (None, "", []):
        return ()
    if not isinstance(found, list) or not all(isinstance(tool, Mapping) for tool in found):
        raise RejectedChat("broken tools", "needed a list of objects")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in found)


def _decoded(value: Any) -> Any:
    """A value, or what the JSON holds that a column has as text."""
    if isinstance(value, str) and value.lstrip()[:1] == "[" and value.rstrip()[-1:] == "]":
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return (
            found if isinstance(found, list) and all(isinstance(each, Mapping) for each in found) else value
        )
    return value
