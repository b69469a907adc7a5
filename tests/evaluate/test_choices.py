"""Each measure divides by its own length: drawn choices against the formulas, and one case in which all four differ."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pinisi.evaluate.choices import MEASURES, accuracies, chosen_of
from pinisi.evaluate.prompts import ChoicePrompt


def test_four_measures_choose_four_answers() -> None:
    """Sums -10 -12 -13 -14 nats; 1 2 8 2 tokens; 1 3 3 12 characters; 1 9 3 12 bytes."""
    choices = ("a", "กขค", "abc", "abcdefghijkl")
    sizes, sums = (1, 2, 8, 2), (-10.0, -12.0, -13.0, -14.0)
    scores = [np.full(n, total / n) for n, total in zip(sizes, sums, strict=True)]
    found = chosen_of("x", ChoicePrompt("p", choices, 2), scores)
    assert found.chosen == {
        "accuracy": 0,
        "accuracy_per_token": 2,
        "accuracy_per_character": 3,
        "accuracy_per_byte": 3,
    }
    thai = chosen_of("x", ChoicePrompt("p", choices[:3], 2), scores[:3])
    assert thai.chosen["accuracy_per_character"] == 1 and thai.chosen["accuracy_per_byte"] == 1
    assert (
        found.tokens == sizes and found.log_probs == pytest.approx(sums) and found.margin == pytest.approx(2)
    )
    assert {name: score.value for name, score in accuracies([found]).items()} == {
        name: float(name == "accuracy_per_token") for name in MEASURES
    }


def test_drawn_choices_are_chosen_by_the_formulas() -> None:
    draw = random.Random(2)
    for _ in range(300):
        choices = tuple("".join(draw.choices("aกé茶", k=draw.randint(1, 9))) for _ in range(4))
        scores = [-np.array([draw.uniform(0.1, 3) for _ in range(draw.randint(1, 6))]) for _ in choices]
        found = chosen_of("x", ChoicePrompt("p", choices, 0), scores).chosen
        for name, length in (
            ("accuracy", lambda n: 1),
            ("accuracy_per_token", lambda n: len(scores[n])),  # noqa: B023
            ("accuracy_per_character", lambda n: len(choices[n])),  # noqa: B023
            ("accuracy_per_byte", lambda n: len(choices[n].encode("utf-8"))),  # noqa: B023
        ):
            assert found[name] == max(range(4), key=lambda n: scores[n].sum() / length(n))


def test_the_first_of_equal_ones_is_chosen() -> None:
    scores = [np.array([-1.0]), np.array([-1.0])]
    found = chosen_of("x", ChoicePrompt("p", ("a", "b"), 1), scores)
    assert set(found.chosen.values()) == {0} and found.margin == 0
