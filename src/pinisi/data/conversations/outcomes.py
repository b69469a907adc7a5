"""Counts the chats that are left out or cut, and writes each with its file, line and reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from pinisi.data.conversations.messages import RejectedChat
from pinisi.data.conversations.records import ChatRecord

FILE = "rejected.jsonl"
SHOWN = 200  # characters of a record that are written beside the reason


class Outcomes:
    """Writes rejected and cut chats into a folder's rejected.jsonl."""

    def __init__(self, folder: Path) -> None:
        self.rejected: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self._file = (folder / FILE).open("w", encoding="utf-8", errors="backslashreplace")

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def reject(self, record: ChatRecord, why: RejectedChat) -> None:
        """Counts a chat that is left out."""
        self.rejected[why.reason] += 1
        self._write(record, "rejected", why.reason, why.detail)

    def cut_off(self, record: ChatRecord, reason: str, detail: str) -> None:
        """Counts a chat of which a part is left out."""
        self.cut[reason] += 1
        self._write(record, "cut", reason, detail)

    def _write(self, record: ChatRecord, what: str, reason: str, detail: str) -> None:
        line = {
            "file": record.file,
            "line": record.line,
            "what": what,
            "reason": reason,
            "detail": detail,
            "begins": _beginning(record.value),
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _beginning(value: Any) -> str:
    if isinstance(value, RejectedChat):
        return ""
    return json.dumps(value, ensure_ascii=False, default=str)[:SHOWN]


def outcome_lines(rejected: dict[str, int], cut: dict[str, int]) -> list[str]:
    """Returns a line for each reason, the most frequent first."""
    return [
        f"{count:,} {what}: {reason}"
        for what, counts in (("left out", rejected), ("cut", cut))
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
