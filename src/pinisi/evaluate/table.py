"""Writes an evaluation as plain tables for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pinisi.evaluate.intervals import LEVEL

SHARES = (
    "accuracy",
    "exact_match",
    "f1",
    "language_",
    "other_scripts",
)  # names that begin so are shares, shown in per cent
LONGEST_VALUE = 40  # characters of a setting that are shown
FERTILITY = ("tokens_per_word", "tokens_per_character", "tokens_per_byte")
COMPARED_HEAD = ("task or text", "language", "measure", "scores", "difference", "differ", "corrected p", "")
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
        found.append(plain_table(("task", "items", *HEAD), rows))
    if result["losses"]:
        losses = [
            (loss["component"], loss["language"], str(loss["documents"]), name, *_shown(name, score))
            for loss in result["losses"]
            for name, score in loss["scores"].items()
        ]
        found.append(plain_table(("component", "language", "documents", *HEAD), losses))
    if cut := [
        f"{task['name']}: {task['cut_on_the_left']} prompts lost their beginning, since the model reads "
        f"{result['model']['longest']} tokens"
        for task in result["tasks"]
        if task.get("cut_on_the_left")
    ]:
        found.append("\n".join(cut))
    costs = [
        (name, *(_figure(part["fertility"].get(key)) for key in FERTILITY))
        for name, part in _named_parts(result)
        if "fertility" in part
    ]
    if costs:
        found.append(plain_table(("tokens by", "word", "character", "byte"), costs))
    marked = {name: part["contamination"] for name, part in _named_parts(result) if "contamination" in part}
    if marked:
        found.append(contamination_table(marked))
    return "\n\n".join(found)


def _named_parts(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((task["name"], task) for task in result["tasks"])
    yield from ((f"{loss['component']}/{loss['language']}", loss) for loss in result["losses"])


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def comparison_tables(found: dict[str, Any]) -> str:
    """What `comparison.compare` found: settings that differ, and scores with intervals and corrected p-values."""
    return "\n\n".join(_comparison(found["baseline"], each) for each in found["comparisons"])


def _comparison(baseline: str, found: dict[str, Any]) -> str:
    name = found["model"]
    parts = [f"{name} against {baseline}"]
    if found["configuration"]:
        rows = [(key, *map(_value, values)) for key, values in found["configuration"].items()]
        parts.append(plain_table(("setting", baseline, name), rows))
    for key, whose in (("only_in_baseline", baseline), ("only_in_model", name)):
        if found[key]:
            parts.append(f"only in {whose}: {', '.join(found[key])}")
    parts.append(plain_table(COMPARED_HEAD, [_compared_row(score) for score in found["scores"]]))
    return "\n\n".join(parts)


def _compared_row(score: dict[str, Any]) -> tuple[str, ...]:
    difference, share = score["difference"], score["measure"].startswith(SHARES)
    a, b = (_number(score[key], share) for key in ("baseline", "score"))
    change, low, high = (
        _number(difference[key], share, signed=True) for key in ("difference", "low", "high")
    )
    return (
        score["name"],
        score["language"],
        score["measure"],
        f"{a} → {b}",
        f"{change} ({low} to {high})",
        f"{difference['telling']} of {difference['samples']}",
        f"{score['p_corrected']:.2g}",
        score["verdict"],
    )


def contamination_table(sets: dict[str, Any]) -> str:
    """What of each set a corpus holds, by the parts of its items."""
    rows = [
        (name, part, *(str(found[key]) for key in ("texts", "contaminated", "undecided")))
        for name, each in sets.items()
        for part, found in each["by_part"].items()
    ]
    return plain_table(("task or text", "part", "texts", "in the corpus", "too short"), rows)


def _value(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _number(value: float, share: bool, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}%" if share else f"{value:{sign}.4g}"


def _shown(name: str, score: dict[str, Any]) -> tuple[str, str]:
    share = name.startswith(SHARES)
    value, low, high = (
        f"{100 * x:.1f}%" if share else f"{x:.4g}" for x in (score["value"], score["low"], score["high"])
    )
    return value, f"{low} to {high}"


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
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
