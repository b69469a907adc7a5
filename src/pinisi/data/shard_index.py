"""Joins what the parts of token shards hold into one index."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base import digests
from pinisi.data.tokenize_part import COUNTS

SUMS = ("documents", "tokens", "characters", "bytes", "predicted_bytes")


class Joined(NamedTuple):
    """languages: for the index. files: digests by name. empty: files of text that hold none, in the order in which they came."""

    languages: dict[str, dict[str, Any]]
    files: dict[str, str]
    empty: list[str]


def join(parts: Sequence[Path]) -> Joined:
    """Reads what each part holds, in the order of the text."""
    counts = {part.name: json.loads((part / COUNTS).read_text("utf-8")) for part in parts}
    names = sorted({language for each in counts.values() for language in each["languages"]})
    languages = {language: _language(language, counts) for language in names}
    files = {
        f"{part}/{name}": digest for part, each in counts.items() for name, digest in each["files"].items()
    }
    files |= {f"{part.name}/{COUNTS}": digests.of_file(part / COUNTS) for part in parts}
    texts: Counter[str] = Counter()
    for each in counts.values():
        texts.update(each["texts"])
    return Joined(
        languages, dict(sorted(files.items())), [path for path, number in texts.items() if not number]
    )


def _language(language: str, counts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    of_parts = {
        part: each["languages"][language] for part, each in counts.items() if language in each["languages"]
    }
    dropped = sum(each["dropped"].get(language, 0) for each in counts.values())
    return {
        **{key: sum(each[key] for each in of_parts.values()) for key in SUMS},
        "dropped": {"empty text": dropped} if dropped else {},
        "altered": _altered(each["altered"] for each in of_parts.values()),
        "files": [
            {"name": f"{part}/{language}", "documents": each["documents"], "tokens": each["tokens"]}
            for part, each in of_parts.items()
        ],
    }


def _altered(of_parts: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Adds up documents by reason; the first of each stays."""
    found: dict[str, dict[str, Any]] = {}
    for reasons in of_parts:
        for reason, what in reasons.items():
            before = found.get(reason, {"documents": 0})
            found[reason] = {**what, **before, "documents": what["documents"] + before["documents"]}
    return found
