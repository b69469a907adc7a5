"""Finds one chat of a file, for whoever looks at it."""

from __future__ import annotations

from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.encode import ChatEncoder, EncodedChat
from pinisi.data.conversations.messages import RejectedChat
from pinisi.data.conversations.records import ChatSource, chat_files, records_of


def chat_at(path: str | Path, line: int | None, encoder: ChatEncoder) -> tuple[str, EncodedChat]:
    """Returns "file:line" and the chat there; without a line the first that can be trained. Raises DataError with the reason where
    it is rejected, or where there is none."""
    source, rejected = ChatSource(str(path)), list[str]()
    for part in chat_files(source):
        for record in records_of(part, source):
            if line is not None and record.line != line:
                continue
            place = f"{record.file}:{record.line}"
            try:
                if isinstance(record.value, RejectedChat):
                    raise record.value
                found = encoder.encode_one(chat_of(record.value))
            except RejectedChat as error:
                rejected.append(f"{place}: {error}")
                if line is not None:
                    raise DataError(f"{place} is rejected: {error}") from None
                continue
            return place, found
    if line is not None:
        raise DataError(f"{path} has no line {line}: give the number of one that it has")
    first = f", the first is {rejected[0]}" if rejected else ""
    raise DataError(f"{path} has no chat that can be trained; {len(rejected)} are rejected{first}")
