"""Writes an evaluation as plain tables for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from pinisi.evaluate.intervals import LEVEL

SHARES = ("accuracy", "exact_match", "f1")  # names that begin so are shares, shown in per cent
HEAD = ("measure", "score", f"{100 * LEVEL:g} % interval")


def tables(result: dict[str, Any]) -> str:
    """All scores with their intervals."""
    found = []
    if result["tasks"]:
        rows = [
            (task["name"], str(task["items"]), name, *_shown(name, score))
            for task in result["tasks"]
            for name, score in task["scores"].items()
        ]
        found.append(_table(("task", "items", *HEAD), rows))
    if result["losses"]:
        losses = [
            (loss["component"], loss["language"], str(loss["documents"]), name, *_shown(name, score))
            for loss in result["losses"]
            for name, score in loss["scores"].items()
        ]
        found.append(_table(("component", "language", "documents", *HEAD), losses))
    return "\n\n".join(found)


def _shown(name: str, score: dict[str, Any]) -> tuple[str, str]:
    share = name.startswith(SHARES)
    value, low, high = (
        f"{100 * x:.1f}%" if share else f"{x:.4g}" for x in (score["value"], score["low"], score["high"])
    )
    return value, f"{low} to {high}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Columns that a terminal takes for it."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)
