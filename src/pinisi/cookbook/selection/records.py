"""Reads chats to select from, and says what is wrong with the form of each that can't be learned from."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.messages import Chat, RejectedChat, checked
from pinisi.data.conversations.records import ChatRecord, ChatSource, chat_files, records_of

LOOPS = 0.1  # a text that packs to less than this share of its bytes says the same again and again
LONG_ENOUGH = 400  # bytes from which on that is judged
FENCE = re.compile(r"^\s*```", flags=re.M)


class ChatCandidate(NamedTuple):
    """Holds a chat to select from. value: the record as it stands in the file, line of it."""

    file: str
    line: int
    language: str
    category: str
    value: dict[str, Any]

    @property
    def chat(self) -> Chat:
        return checked(chat_of(self.value))

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


class DroppedChat(NamedTuple):
    """Says why a chat isn't selected. reason: one of a few names; detail: of this one; text: how it begins."""

    file: str
    line: int
    language: str
    category: str
    reason: str
    detail: str
    text: str


def read_all(settings: SelectSettings) -> Iterator[ChatCandidate | DroppedChat]:
    """Reads all chats in the order of files and lines. Raises DataError for files that can't be read."""
    source = ChatSource(path=settings.chats, language=settings.language)
    for part in chat_files(source):
        for record in records_of(part, source):
            yield _candidate(record, settings)


def _candidate(record: ChatRecord, settings: SelectSettings) -> ChatCandidate | DroppedChat:
    language, category = record.language, ""
    try:
        if isinstance(record.value, RejectedChat):
            raise record.value
        chat = chat_of(record.value)
        language = chat.language or language
        named = record.value.get(settings.category)
        category = named if isinstance(named, str) else ""
        check_form(checked(chat))
    except RejectedChat as why:
        text = beginning(record.value)
        return DroppedChat(record.file, record.line, language, category, why.reason, why.detail, text)
    return ChatCandidate(record.file, record.line, language, category, dict(record.value))


def check_form(chat: Chat) -> None:
    """Raises RejectedChat for an answer that is cut off, damaged, an echo or a loop."""
    for place, message in enumerate(chat.messages):
        if message.role != "assistant":
            continue
        where, text = f"turn {place + 1}", message.content
        if "\ufffd" in text:
            raise RejectedChat("damaged characters", where)
        if len(FENCE.findall(text)) % 2:
            raise RejectedChat("a code block without an end", where)
        before = chat.messages[place - 1].content if place else ""
        if len(text.split()) > 1 and _plain(text) == _plain(before):
            raise RejectedChat("an answer that is the question", where)
        raw = text.encode()
        if len(raw) >= LONG_ENOUGH and len(zlib.compress(raw, 9)) < LOOPS * len(raw):
            raise RejectedChat("an answer that repeats itself", where)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def beginning(value: Any) -> str:
    """How a record begins, for a page: its last question and answer where it has such."""
    try:
        turns = chat_of(value).messages
        said = " → ".join(turn.content.strip() for turn in turns[-2:])
    except RejectedChat:
        said = (
            str(value)
            if isinstance(value, RejectedChat)
            else json.dumps(value, ensure_ascii=False, default=str)
        )
    said = " ".join(said.split())
    return said if len(said) <= 200 else said[:199] + "…"


def answers_of(chat: Chat) -> list[str]:
    return [message.content for message in chat.messages if message.role == "assistant"]


def text_of(chat: Chat) -> str:
    """All that user and assistant say, which likeness is judged by."""
    return "\n".join(message.content for message in chat.messages if message.role in ("user", "assistant"))


def write_lines(path: Path, values: Iterator[Mapping[str, Any]] | list[dict[str, Any]]) -> None:
    """Writes JSON lines."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for value in values:
            out.write(json.dumps(value, ensure_ascii=False) + "\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads what `write_lines` wrote."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]
