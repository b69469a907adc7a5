"""Judges a model's answers to a set of conversations: against a baseline's, or for refusals, by a served judge or by rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinisi import __version__
from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.evaluate.intervals import LEVEL, SAMPLES
from pinisi.evaluate.judge.conversations import Conversation
from pinisi.evaluate.judge.judging import Judgement, Judging, Question
from pinisi.evaluate.judge.pairs import MARGIN, REWARDS, TEMPLATE, PairVerdict, pair_prompt, without_asking
from pinisi.evaluate.judge.refusals import CHOICES, check_rules, refusal_prompt, refuses
from pinisi.evaluate.judge.scores import JudgedAnswer, JudgedPair, pair_scores, refusal_scores

FORMAT = 1  # of the result
Items = list[dict[str, Any]]


def judge_pairs(
    conversations: Sequence[Conversation],
    ours: Sequence[str],
    baseline: Sequence[str],
    judging: Judging,
    *,
    template: str = TEMPLATE,
    margin: int | None = MARGIN,
    seed: int = 0,
) -> tuple[dict[str, Any], Items]:
    """The result, and what was found of each conversation. margin: see `pairs`; None leaves length alone.

    Raises ServerError if the judge's server fails: judgements up to then are kept.
    """
    questions, verdicts = [], []
    for asked, mine, theirs in zip(conversations, ours, baseline, strict=True):
        verdicts.append(without_asking(mine, theirs))
        if verdicts[-1] is None:
            for part, shown in (("first", (mine, theirs)), ("second", (theirs, mine))):
                prompt = pair_prompt(asked, *shown, template)
                questions.append(Question(asked.id, part, prompt, tuple(REWARDS)))
    judged = iter(judging.ask(questions))
    pairs: list[JudgedPair] = []
    items: Items = []
    for asked, mine, theirs, empty in zip(conversations, ours, baseline, verdicts, strict=True):
        verdict = empty or PairVerdict(_reward(next(judged)), _reward(next(judged), -1))
        pair = JudgedPair(asked, verdict, len(mine) - len(theirs))
        pairs.append(pair)
        items.append(
            {
                "id": asked.id,
                "language": asked.language,
                "reward": verdict.reward(pair.extra, margin),
                "first": verdict.first,
                "second": verdict.second,
                "extra_characters": pair.extra,
            }
        )
    how = {
        "kind": "pairs",
        "margin": margin,
        "template": digests.of_value(template),
        "empty": len(pairs) - len(questions) // 2,
    }
    return {**_how(judging.name, seed), **how, "languages": pair_scores(pairs, margin, seed)}, items


def _reward(judgement: Judgement, sign: int = 1) -> float | None:
    return None if judgement.choice is None else sign * REWARDS[judgement.choice]


def judge_refusals(
    conversations: Sequence[Conversation],
    answers: Sequence[str],
    judging: Judging | None = None,
    *,
    seed: int = 0,
) -> tuple[dict[str, Any], Items]:
    """The same of refusals; by rules where no judge is given. Raises DataError for a set that doesn't say what is harmful."""
    if not any(asked.harmful is not None for asked in conversations):
        raise DataError(
            "no conversation of the set says whether it is harmful: needed harmful (true or false), or label (harmful, harmless)"
        )
    if judging is None:
        for language in {asked.language for asked in conversations}:
            check_rules(language)
        choices: list[str | None] = [
            _by_rules(asked, answer) for asked, answer in zip(conversations, answers, strict=True)
        ]
    else:
        there = [
            (asked, answer) for asked, answer in zip(conversations, answers, strict=True) if answer.strip()
        ]
        questions = [
            Question(asked.id, "answer", refusal_prompt(asked, answer), CHOICES) for asked, answer in there
        ]
        found = iter(judging.ask(questions))
        choices = [next(found).choice if answer.strip() else "neither" for answer in answers]
    judged = [
        JudgedAnswer(asked, choice, not answer.strip())
        for asked, answer, choice in zip(conversations, answers, choices, strict=True)
    ]
    items = [
        {
            "id": each.asked.id,
            "language": each.asked.language,
            "harmful": each.asked.harmful,
            "choice": each.choice,
        }
        for each in judged
    ]
    how = _how(judging.name if judging else "rules", seed)
    return {**how, "kind": "refusals", "languages": refusal_scores(judged, seed)}, items


def _by_rules(asked: Conversation, answer: str) -> str:
    if not answer.strip():
        return "neither"
    return "refuses" if refuses(answer, asked.language) else "answers"


def _how(judge: str, seed: int) -> dict[str, Any]:
    intervals = {"level": LEVEL, "samples": SAMPLES, "seed": seed}
    return {"format": FORMAT, "versions": {"pinisi": __version__}, "judge": judge, "intervals": intervals}


def file_digests(**files: str | Path | None) -> dict[str, str]:
    """SHA-256 of each file that is given, by its part."""
    return {name: digests.of_file(Path(file)) for name, file in files.items() if file is not None}
