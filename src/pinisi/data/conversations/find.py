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
    source, rejected = ChatSource(str(path)), 0
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
                rejected += 1
                if line is not None:
                    raise DataError(f"{place} is rejected: {error}") from None
                continue
            return place, found
    what = f"no line {line}" if line is not None else f"no chat that can be trained; {rejected} are rejected"
    raise DataError(f"{path} has {what}: see `pinisi inspect chat {path} LINE` for the reason of one")
