"""Compares answers with right ones: exact match and F1 over units that exist in scripts without spaces, too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pinisi.data.text.segmentation import normal, normal_words

ARTICLES = {"en": {"a", "an", "the"}}
# Thai and Lao "am" may be written as two signs, with a tone mark before or between them: น้ำ, นํ้า.
_AM = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32|([\u0e48-\u0e4b])\u0e4d\u0e32")
_LAO_AM = re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2|([\u0ec8-\u0ecb])\u0ecd\u0eb2")


class AnswerScore(NamedTuple):
    """exact_match is 0 or 1, f1 between them."""

    exact_match: float
    f1: float


def units_of(text: str, language: str = "") -> list[str]:
    """What answers are compared by: words in lower case, and letters with their marks in scripts without spaces.

    Punctuation and white space part units and are none; English articles are left out, as in SQuAD's own script.
    """
    text = _LAO_AM.sub(r"\1\2ຳ", _AM.sub(r"\1\2ำ", text))
    left_out = ARTICLES.get(language, set())
    return [unit for unit in normal_words(text, spaces=False) if unit not in left_out]


def compared(answer: str, references: Sequence[str], language: str = "") -> AnswerScore:
    """The best score against any of the right answers."""
    scores = [_against(answer, reference, language) for reference in references]
    return AnswerScore(max(s.exact_match for s in scores), max(s.f1 for s in scores))


def _against(answer: str, reference: str, language: str) -> AnswerScore:
    mine, right = units_of(answer, language), units_of(reference, language)
    if not mine or not right:  # nothing but signs, or nothing at all
        same = float(normal(answer.strip()) == normal(reference.strip()))
        return AnswerScore(same, same)
    shared = sum((Counter(mine) & Counter(right)).values())
    precision, recall = shared / len(mine), shared / len(right)
    f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
    return AnswerScore(float(mine == right), f1)
