"""The parts of `pinisi bench preference` that decide: pairs, values, verdicts, the picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from pinisi.bench import padded_pairs, preference
from pinisi.bench.exact_tasks import ExactQuestion
from pinisi.bench.padded_pairs import LANGUAGES, PADDING, padded, value_of

LETTERS = dict(zip(LANGUAGES, "abc", strict=True))


@pytest.fixture
def made_up(monkeypatch) -> None:
    """Numbers as letters and digits, and no library."""
    found = {
        (language, n): ExactQuestion("number", str(n), language, "plain", f"{letter}{n}")
        for language, letter in LETTERS.items()
        for n in range(1000)
    }
    monkeypatch.setattr(padded_pairs, "words", lambda: found)


def test_no_number_is_trained_and_judged(made_up) -> None:
    split = padded_pairs.split_questions(1, 60, 90)
    assert (len(split.held_out), len(split.asked)) == (60, 90)
    parts = [{q.key for q in part} for part in (split.pairs, split.held_out, split.asked)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert padded_pairs.split_questions(1, 60, 90) == split != padded_pairs.split_questions(2, 60, 90)


def test_chosen_answers_are_right_and_mostly_longer(made_up, tmp_path) -> None:
    questions = padded_pairs.split_questions(1, 60, 90).pairs
    lines = padded_pairs.write_pairs(questions, tmp_path / "pairs.jsonl", 3).read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    right = {q.answer for q in questions}
    assert all(
        value_of(p["chosen"]) in right and value_of(p["rejected"]) != value_of(p["chosen"]) for p in pairs
    )
    sentences = [[p[side].count(".") - 1 for side in ("chosen", "rejected")] for p in pairs]
    assert 0.55 < sum(a > b for a, b in sentences) / len(pairs) < 0.65
    assert 0.15 < sum(a == b for a, b in sentences) / len(pairs) < 0.25
    shuffled = padded_pairs.write_pairs(questions, tmp_path / "other.jsonl", 3, shuffled=True)
    chosen = [value_of(json.loads(line)["chosen"]) for line in shuffled.read_text().splitlines()]
    assert 0.45 < sum(a == q.answer for a, q in zip(chosen, questions, strict=True)) / len(chosen) < 0.55


def test_sentences_hide_no_value() -> None:
    for count in range(len(PADDING) + 1):
        assert value_of(padded("twenty-one", count)) == "twenty-one"
    assert len({padded("a", count) for count in range(len(PADDING) + 1)}) == len(PADDING) + 1


def arm(tokens: int, right: int, of: int = 200) -> dict:
    return {"tokens": [tokens] * of, "right": [n < right for n in range(of)], "pairs": 300, "preferred": 250}


def row(
    short: int = 10, right: int = 180, control: int = 150, same: bool = True, true: int = 250, of: int = 200
) -> dict:
    arms = {preference.name_of(alpha): arm(20, 180, of) for alpha in preference.ALPHAS}
    arms[preference.name_of(preference.ALPHAS[-1])] = arm(short, right, of)
    arms[preference.name_of(0.0)]["preferred"] = true
    return {
        "seed": 0,
        "arms": {"start": {k: v for k, v in arm(5, 190, of).items() if k in ("tokens", "right")}, **arms},
        "same": same,
        "control": {"pairs": 300, "preferred": control},
        "seconds": 1.0,
    }


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 0),
        ({"short": 16}, 0),
        ({"short": 17}, 1),
        ({"right": 150}, 1),
        ({"right": 185}, 0),
        ({"right": 20, "of": 20, "short": 10}, 0),
        ({"control": 190}, 1),
        ({"control": 110}, 1),
        ({"same": False}, 1),
        ({"true": 155}, 1),
    ],
)
def test_what_falls_short_is_named(given, count) -> None:
    assert len(preference.faults_of([row(), row(**given)])) == count
    assert any("random labels" in line for line in preference.lines_of([row()]))


def test_a_sample_too_small_decides_nothing() -> None:
    found = row(right=8, of=10)
    found["arms"][preference.name_of(preference.ALPHAS[-1])]["right"] = [n >= 2 for n in range(10)]
    assert preference.holds(found, preference.ALPHAS[-1]) is None
    assert "too small" in preference.faults_of([found])[0]


def test_the_sweep_is_drawn() -> None:
    drawn = ElementTree.fromstring(preference.picture_of([row(), {**row(), "seed": 7}]))
    said = " ".join(drawn.itertext())
    assert all(f"α = {alpha:g}" in said for alpha in preference.ALPHAS) and "seed 7" in said
    lines = [each for each in drawn.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 4 and all(
        len(each.get("points").split()) == len(preference.ALPHAS) for each in lines
    )
