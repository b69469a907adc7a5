"""Says what a folder of token shards holds, language by language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.shards import read_index

COUNTS = ("documents", "tokens", "characters", "bytes")


def contents(folder: str | Path) -> dict[str, dict[str, int]]:
    """Returns documents, tokens, characters and bytes by language; what older shards didn't count is left out. Raises DataError."""
    if not Path(folder).is_dir():
        raise DataError(f"{Path(folder).absolute()}: no such folder; give one that `pinisi tokenize` wrote")
    languages: dict[str, dict[str, Any]] = read_index(folder)["languages"]
    return {
        language: {name: counts[name] for name in COUNTS if name in counts}
        for language, counts in languages.items()
    }


def contents_lines(held: dict[str, dict[str, int]]) -> list[str]:
    """Returns a table of `contents`, and a last line with the sums of several languages."""
    names = [name for name in COUNTS if all(name in counts for counts in held.values())]
    sums = {name: sum(counts[name] for counts in held.values()) for name in names}
    rows = [*held.items(), *([("all", sums)] if len(held) > 1 else [])]
    cells = [["", *names], *([first, *(f"{counts[name]:,}" for name in names)] for first, counts in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [
                first.ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
            ]
        )
        for first, *rest in cells
    ]
