"""Exact match and F1, against SQuAD's own formulas in English, and in scripts that SQuAD's get wrong."""

from __future__ import annotations

import random
import re
import string
from collections import Counter

import pytest

from pinisi.evaluate.answers import compared


def squad(answer: str, reference: str) -> tuple[float, float]:
    """SQuAD 1.1's formulas, as published."""

    def words(text: str) -> list[str]:
        text = "".join(c for c in text.lower() if c not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    mine, right = words(answer), words(reference)
    same = sum((Counter(mine) & Counter(right)).values())
    precision, recall = (same / len(x) if x else 0 for x in (mine, right))
    return float(mine == right), 2 * precision * recall / (precision + recall) if same else 0.0


def test_english_is_squads() -> None:
    draw = random.Random(5)
    words = ["The", "ship", "of", "1906,", "a", "sail", "sails", "(old)", "an", "mast."]
    for _ in range(300):
        answer, reference = (" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(2))
        if not (squad(answer, answer)[1] and squad(reference, reference)[1]):
            continue  # of articles alone nothing is left
        found = compared(answer, [reference], "en")
        assert (found.exact_match, found.f1) == pytest.approx(squad(answer, reference))


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        ("กรุงเทพ มหานคร", "กรุงเทพมหานคร", 1, 1),  # a space that Thai may have
        ("308 คะแนน", "308", 0, 2 * (1 / 4) / (1 / 4 + 1)),  # clusters: คะ แน น
        ("นํ้า", "น้ำ", 1, 1),  # two ways of writing one word
        ("北京市", "北京", 0, 0.8),
        ("北京。", "北京", 1, 1),
        ("Hà Nội", "hà nội", 1, 1),
        ("", "北京", 0, 0),
        ("?!", "?!", 1, 1),
        ("ພະນະຄອນ", "ວຽງຈັນ", 0, None),
    ],
)
def test_scripts_without_spaces(answer, reference, exact, f1) -> None:
    found = compared(answer, [reference])
    assert found.exact_match == exact
    if f1 is not None:
        assert found.f1 == pytest.approx(f1)


def test_the_best_reference_counts() -> None:
    assert compared("dua", ["satu", "dua"]) == (1.0, 1.0)
