"""Holds a chat as messages, and says which chats are rejected: each for a reason with a name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

ROLES = ("system", "user", "assistant", "tool")
THINK, THINK_END = "<think>", "</think>"


class RejectedChat(Exception):
    """Says why a chat is left out. reason: one of a few names, which are counted; detail: of this chat."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[RejectedChat], tuple[str, str]]:
        return RejectedChat, (self.reason, self.detail)


@dataclass(frozen=True)
class ChatMessage:
    """Holds one turn. trained: whether this answer may be learned from (OpenAI's "weight": 0 says no)."""

    role: str
    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    name: str = ""
    tool_call_id: str = ""
    trained: bool = True

    def for_template(self) -> dict[str, Any]:
        """Returns the message as chat templates read it."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            found["reasoning_content"] = self.reasoning
        if self.tool_calls:
            found["tool_calls"] = [dict(call) for call in self.tool_calls]
        if self.name:
            found["name"] = self.name
        if self.tool_call_id:
            found["tool_call_id"] = self.tool_call_id
        return found


@dataclass(frozen=True)
class Chat:
    """Holds a conversation, the tools that it may call, and its language's code where somebody says it."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    language: str = ""


def message_of(turn: Any) -> ChatMessage:
    """Reads a turn of {"role", "content"} (OpenAI, TRL) or {"from", "value"} (ShareGPT). Raises RejectedChat."""
    if not isinstance(turn, Mapping):
        raise RejectedChat("no messages", f"a turn is a {type(turn).__name__}, needed role and content")
    said = turn.get("role", turn.get("from"))
    role = _ROLE.get(str(said).strip().lower())
    if role is None:
        raise RejectedChat("unknown role", repr(said))
    content = turn.get("content", turn.get("value"))
    if role == "call":
        return ChatMessage("assistant", tool_calls=(_call(_json(content)),))
    calls = turn.get("tool_calls") or ()
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise RejectedChat("broken tool call", f"tool_calls is a {type(calls).__name__}, needed a list")
    reasoning = turn.get("reasoning_content") or turn.get("reasoning") or turn.get("thinking") or ""
    message = ChatMessage(
        role,
        _text(content, role, bool(calls)),
        str(reasoning),
        tuple(map(_call, calls)),
        str(turn.get("name") or ""),
        str(turn.get("tool_call_id") or ""),
        turn.get("weight") != 0 and turn.get("train") is not False,
    )
    return _think_apart(message) if role == "assistant" else message


_ROLE = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant", "ai": "assistant",
    "tool": "tool", "function": "tool", "ipython": "tool", "observation": "tool", "function_response": "tool",
    "tool_response": "tool",
    "function_call": "call", "tool_call": "call",
}  # fmt: skip


def _text(content: Any, role: str, calls: bool) -> str:
    """A turn's text; parts of text are joined."""
    if content is None:
        if role == "assistant" and calls:
            return ""
        raise RejectedChat("content is null", f"of the role {role}")
    if isinstance(content, list):
        if role == "tool" and not all(isinstance(part, Mapping) and "type" in part for part in content):
            return json.dumps(content, ensure_ascii=False)
        parts = [part if isinstance(part, str) else _part(part) for part in content]
        return "".join(parts)
    if role == "tool" and isinstance(content, dict | int | float):
        return json.dumps(content, ensure_ascii=False)
    if not isinstance(content, str):
        raise RejectedChat("content is no text", f"a {type(content).__name__} of the role {role}")
    try:
        content.encode("utf-8")
    except UnicodeEncodeError:
        raise RejectedChat("content is no text", "it holds half a surrogate pair") from None
    return content


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise RejectedChat("content is no text", f"a part of it is {kind!r}")


def _call(call: Any) -> dict[str, Any]:
    """A tool call as templates read it, with its arguments as an object where they are one."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise RejectedChat("broken tool call", f"no name in {str(call)[:60]}")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _json(arguments)
    if not isinstance(arguments, Mapping):
        raise RejectedChat(
            "broken tool call", f"arguments are a {type(arguments).__name__}, needed an object"
        )
    known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**known, "type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RejectedChat("broken tool call", f"no JSON: {text[:60]!r}") from None


def _think_apart(message: ChatMessage) -> ChatMessage:
    """Takes a think block at an answer's beginning out of its text."""
    begun = message.content.lstrip()
    if message.reasoning or not begun.startswith(THINK):
        return message
    inside, end, behind = begun[len(THINK) :].partition(THINK_END)
    if not end:
        raise RejectedChat("a think block without an end")
    return replace(message, reasoning=inside.strip("\n"), content=behind.lstrip("\n"))


def checked(chat: Chat) -> Chat:
    """Returns a chat without the turns behind its last answer. Raises RejectedChat for what no model should learn from:

    no answer; a system message that isn't the first; two answers in a row; a blank user turn or answer (unless it calls tools); a
    tool result that no call of the assistant's goes before. Several tool results in a row are results of several calls. Several
    user turns in a row are left to the template.
    """
    messages = chat.messages
    if not messages:
        raise RejectedChat("no messages", "the list is empty")
    for place, message in enumerate(messages):
        before = messages[place - 1] if place else None
        _check_message(message, before, f"turn {place + 1}")
    last = max((n for n, message in enumerate(messages) if message.role == "assistant"), default=-1)
    if last < 0:
        raise RejectedChat("no answer", "no turn is the assistant's")
    return replace(chat, messages=messages[: last + 1])


def _check_message(message: ChatMessage, before: ChatMessage | None, where: str) -> None:
    role, of_before = message.role, before.role if before is not None else ""
    if role == "system" and before is not None:
        raise RejectedChat("system in the middle", where)
    if role == "assistant" and of_before == "assistant":
        raise RejectedChat("two answers in a row", where)
    if role == "tool" and not (of_before == "tool" or (before is not None and before.tool_calls)):
        raise RejectedChat("a tool result without a call", where)
    if role == "assistant" and not message.content.strip() and not message.tool_calls:
        raise RejectedChat("empty answer", where)
    if role == "user" and not message.content.strip():
        raise RejectedChat("empty user turn", where)
