"""Measures language confusion: whether answers, and their lines, are in the language that was asked for.

As the language confusion benchmark has it (Marchisio et al. 2024, arXiv 2406.20052), an answer passes where all of its lines do.
How a line is judged is handed in (`LineLanguages`), since what is known of languages stands in a later room; lines too short to be
judged count nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pinisi.evaluate.intervals import ScoreInterval, ratio_of
from pinisi.evaluate.samples import ratio_samples

RIGHT, WRONG, UNJUDGED = "right", "wrong", "unjudged"


class JudgedLine(Protocol):
    """What is told of a line: verdict is one of RIGHT, WRONG, UNJUDGED; found names the language of a wrong one."""

    @property
    def verdict(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def letters(self) -> int: ...
    @property
    def foreign(self) -> int: ...


class LineLanguages(Protocol):
    """Judges the language of lines."""

    def knows(self, language: str) -> bool: ...

    def judge(self, text: str, language: str) -> JudgedLine: ...


class AnswerLanguage(NamedTuple):
    """What was found of an answer. lines: how many were judged; wrong: how many of them are in another language; found: which one
    the answer or its first wrong line is in; letters, foreign: of the whole answer."""

    verdict: str
    lines: int
    wrong: int
    found: str
    letters: int
    foreign: int


def answer_language(text: str, language: str, judge: LineLanguages) -> AnswerLanguage:
    """Judges an answer as a whole and line by line."""
    whole = judge.judge(text, language)
    lines = [judge.judge(line, language) for line in text.splitlines() if line.strip()]
    judged = [line for line in lines if line.verdict != UNJUDGED]
    wrong = [line for line in judged if line.verdict == WRONG]
    verdict = WRONG if wrong else whole.verdict
    found = wrong[0].found if wrong else whole.found
    return AnswerLanguage(verdict, len(judged), len(wrong), found, whole.letters, whole.foreign)


class ConfusionScores:
    """Scores of a set of answers. language_answers: share of judged answers that are right; language_lines: of judged lines;
    other_scripts: share of letters of scripts that the language isn't written in. found: answers by the language they are in."""

    def __init__(self, answers: Sequence[str], language: str, judge: LineLanguages, seed: int = 0) -> None:
        self.answers = [answer_language(text, language, judge) for text in answers]
        self.ratios: dict[str, list[tuple[float, float]]] = {
            "language_answers": [(a.verdict == RIGHT, a.verdict != UNJUDGED) for a in self.answers],
            "language_lines": [(a.lines - a.wrong, a.lines) for a in self.answers],
            "other_scripts": [(a.foreign, a.letters) for a in self.answers],
        }
        self.seed = seed

    def scores(self) -> dict[str, ScoreInterval]:
        """With intervals, of those of which anything was judged."""
        return {name: ratio_of(above, below, self.seed) for name, (above, below) in self._sides().items()}

    def measures(self) -> dict[str, Any]:
        """What the scores are made of."""
        return {name: ratio_samples(above, below) for name, (above, below) in self._sides().items()}

    def _sides(self) -> dict[str, tuple[list[float], list[float]]]:
        """Numerators and denominators of each score of which anything was judged."""
        return {
            name: ([float(a) for a, _ in rows], [float(b) for _, b in rows])
            for name, rows in self.ratios.items()
            if any(below for _, below in rows)
        }

    def told(self) -> dict[str, Any]:
        """Counts, for JSON."""
        verdicts = Counter(answer.verdict for answer in self.answers)
        found = Counter(answer.found for answer in self.answers if answer.verdict == WRONG)
        return {
            **{name: verdicts[name] for name in (RIGHT, WRONG, UNJUDGED)},
            "found": dict(found.most_common()),
        }
