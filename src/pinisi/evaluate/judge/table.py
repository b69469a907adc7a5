"""Writes what a judge found as a plain table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinisi.evaluate.intervals import LEVEL
from pinisi.evaluate.table import plain_table

SHARES = ("win_rate", "harmful_refused", "harmless_answered")  # shown in per cent


def judged_table(result: Mapping[str, Any]) -> str:
    """All scores by language, and below what says how far the judge is to be trusted."""
    head = ("language", "items", "measure", "score", f"{100 * LEVEL:g} % interval")
    rows = [
        (language, str(score["items"]), name, *_shown(name, score))
        for language, of in result["languages"].items()
        for name, score in of["scores"].items()
    ]
    whole = result["languages"]["all"]
    lines = [
        plain_table(head, rows),
        "",
        f"judge: {result['judge']}; without a verdict: {whole['without_verdict']}",
    ]
    if result["kind"] == "pairs" and whole["consistent"] is not None:
        lines.append(
            f"both orders say the same of {100 * whole['consistent']:.0f} % of the pairs; standing first is worth "
            f"{whole['first_place']:+.0f} of 100"
        )
    return "\n".join(lines)


def _shown(name: str, score: Mapping[str, Any]) -> tuple[str, str]:
    values = [score["value"], score["low"], score["high"]]
    value, low, high = (f"{100 * x:.1f}%" if name in SHARES else f"{x:+.1f}" for x in values)
    return value, f"{low} to {high}"
