"""Decides by rules whether a text is kept: limits of what `measures` measures.

The default limits are wide on purpose: they stand where no kind of running text was seen, not at the edge of the text that a pack
was made of, since limits at that edge take help pages for the language and drop its news. What a model finds surprising is
no rule by default but a score (see `scores`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pinisi.curate.measures import MEASURES, ORDER, PackLike, Text, measures

# Hardly a document of the sample corpus (help, interface, scripture, law, fiction) lies beyond, and what is planted by
# benchmarks/curation.py does: tables of numbers and menus have .72 to 1 special characters, a phrase over and over has 1 of its
# 5-grams twice, lists of 8 to 20 search words have .04 to .14 of variety.
WIDE: dict[str, dict[str, float]] = {
    "spaces": dict(words=5, word_repetition=0.85, variety=0.16, special=0.6, stop_words=0.01, flagged=0.02, language=0.5),
    "characters": dict(words=10, word_repetition=0.85, variety=0.16, special=0.6, flagged=0.02, language=0.5),
}  # fmt: skip
# An ideograph is as much as three letters, so what stands beside it is a larger share; planted menus have .72 and more.
DENSE = {"special": 0.68}
# Limits of Sailor2's cleaning code (SailCraft), as far as its rules are the same; its perplexities are of another model.
SAILCRAFT: dict[str, dict[str, float]] = {
    "en": dict(
        words=20, character_repetition=0.106, word_repetition=0.19, special=0.4, stop_words=0.3, flagged=0.01, language=0.8
    ),
    "id": dict(words=10, character_repetition=0.5, word_repetition=0.5, special=0.5, flagged=0.1, language=0.7),
    "vi": dict(words=10, character_repetition=0.5, word_repetition=0.5, special=0.5, flagged=0.1, language=0.7),
    "th": dict(words=30, character_repetition=0.2, word_repetition=0.2, special=0.4, flagged=0.01, language=0.7),
    "ms": dict(words=15, character_repetition=0.15, word_repetition=0.2, special=0.34, flagged=0.01),
    "lo": dict(
        words=10, character_repetition=0.1, word_repetition=0.5, special=0.4, stop_words=0.15, flagged=0.1, language=0.7
    ),
    "zh": dict(
        words=30, character_repetition=0.2, word_repetition=0.96, special=0.3, stop_words=0.169, flagged=0.001, language=0.85
    ),
}  # fmt: skip
PRESETS = ("wide", "sailcraft")
AT_LEAST = frozenset(("words", "variety", "stop_words", "language"))  # the other rules have a most
# A language's own text may loosen a limit, never tighten it: so far beyond that text's 0.5th or 99.5th percentile.
ROOM = {"word_repetition": 0.05, "variety": 0.03, "special": 0.1, "stop_words": 0.01}
ENOUGH = 50  # texts: fewer say nothing about their own tail


class Verdict(NamedTuple):
    """The first rule that a text breaks."""

    rule: str
    value: float
    limit: float


def verdict(text: Text, limits: Mapping[str, float]) -> Verdict | None:
    """Returns the first rule that the text breaks, in the order of Sailor2; None if it is kept."""
    for name in ORDER:
        limit = limits.get(name)
        if limit is None:
            continue
        value = MEASURES[name](text)
        if value < limit if name in AT_LEAST else value > limit:
            return Verdict(name, value, limit)
    return None


def wide_of(pack: PackLike) -> dict[str, float]:
    """Returns the limits that stand where no running text of such a script was seen."""
    return {**WIDE[pack.segmentation], **(DENSE if pack.language == "zh" else {})}


def loosened(texts: Sequence[Text]) -> dict[str, float]:
    """Returns the limits that a language's own clean texts need wider than `wide_of`; none where it keeps those."""
    if len(texts) < ENOUGH:
        return {}
    wide = wide_of(texts[0].pack)
    values = [measures(text) for text in texts]
    found = {}
    for name, room in ROOM.items():
        if name not in wide:
            continue
        column = np.array([value[name] for value in values])
        if name in AT_LEAST:
            limit = float(np.quantile(column, 0.005)) - room
            if limit < wide[name]:
                found[name] = max(0.0, limit)
        else:
            limit = float(np.quantile(column, 0.995)) + room
            if limit > wide[name]:
                found[name] = min(limit, 0.95)
    return found


def limits_of(
    pack: PackLike, preset: str, own: Mapping[str, Mapping[str, float]], off: Sequence[str]
) -> dict[str, float]:
    """Returns the limits of one language: the preset's, then those for all languages, then its own.

    Sailcraft has none for half of the fifteen languages: there, and with the preset "wide", the wide ones and the pack's are taken.
    """
    limits = dict(SAILCRAFT.get(pack.language, {})) if preset == "sailcraft" else {}
    if not limits:
        limits = {**wide_of(pack), **pack.limits}
    limits |= {**own.get("all", {}), **own.get(pack.language, {})}
    return {name: value for name, value in limits.items() if name not in off}
