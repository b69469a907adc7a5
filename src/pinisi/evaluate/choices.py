"""Chooses among continuations by their likelihood, normalised in four ways that are named apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pinisi.base.errors import DataError
from pinisi.evaluate.encoding import Continuation, PromptEncoder, truncated
from pinisi.evaluate.examples import Item
from pinisi.evaluate.intervals import ScoreInterval, mean_of
from pinisi.evaluate.prompts import ChoicePrompt
from pinisi.evaluate.samples import mean_samples
from pinisi.evaluate.tasks import AskedTask

# How a choice's sum of log-probabilities is weighed, and what it is divided by; the harness calls the first acc, the third
# acc_norm, the last acc_bytes.
MEASURES = {
    "accuracy": "1",
    "accuracy_per_token": "scored tokens",
    "accuracy_per_character": "characters of the choice",
    "accuracy_per_byte": "UTF-8 bytes of the choice",
}


class ChoiceRecord(NamedTuple):
    """What was found of one item: sums of log-probabilities and scored tokens of each choice, which one each measure chose, and
    by how much the best sum leads (nats)."""

    id: str
    answer: int
    log_probs: tuple[float, ...]
    tokens: tuple[int, ...]
    chosen: dict[str, int]
    margin: float

    def right(self, measure: str) -> bool:
        return self.chosen[measure] == self.answer


class ChoiceRequests:
    """All continuations of a task, in order: those of item 0, of item 1, ...

    merged: how many have their border within a token; cut: how many lost tokens on the left, since the model reads no more.
    """

    def __init__(self, asked: AskedTask, encoder: PromptEncoder, longest: int) -> None:
        self.asked = asked
        self.prompts: list[ChoicePrompt] = []
        self.continuations: list[Continuation] = []
        self.merged = self.cut = 0
        for item in asked.items:
            try:
                self._take(item, encoder, longest)
            except DataError as error:
                raise DataError(f"{asked.task.file}, item {item.id}: {error}") from None

    def _take(self, item: Item, encoder: PromptEncoder, longest: int) -> None:
        asked, chat = self.asked, self.asked.task.chat
        prompt = asked.choice(item)
        context = encoder.rendered(asked.messages(item)) if chat else asked.context(item)
        for choice in prompt.choices:
            whole = encoder.pair(context, asked.delimiter + choice, chat=chat)
            fits = truncated(whole, longest)
            self.merged += whole.merged
            self.cut += fits is not whole
            self.continuations.append(fits)
        self.prompts.append(prompt)

    @property
    def chance(self) -> float:
        """The share that blind guessing gets right."""
        return float(np.mean([1 / len(prompt.choices) for prompt in self.prompts])) if self.prompts else 0.0

    def records(self, scores: Sequence[np.ndarray]) -> list[ChoiceRecord]:
        """scores: of each continuation the log-probabilities of its scored tokens."""
        found, start = [], 0
        for item, prompt in zip(self.asked.items, self.prompts, strict=True):
            some = scores[start : start + len(prompt.choices)]
            start += len(prompt.choices)
            found.append(chosen_of(item.id, prompt, some))
        return found


def chosen_of(id: str, prompt: ChoicePrompt, scores: Sequence[np.ndarray]) -> ChoiceRecord:
    """What each measure chooses; the first of equal ones."""
    sums = np.array([score.sum() for score in scores])
    sizes = {
        "accuracy": np.ones(len(sums)),
        "accuracy_per_token": np.array([len(score) for score in scores]),
        "accuracy_per_character": np.array([len(choice) for choice in prompt.choices]),
        "accuracy_per_byte": np.array([len(choice.encode()) for choice in prompt.choices]),
    }
    best = np.sort(sums)[::-1]
    return ChoiceRecord(
        id,
        prompt.answer,
        tuple(sums.tolist()),
        tuple(len(score) for score in scores),
        {measure: int(np.argmax(sums / sizes[measure])) for measure in MEASURES},
        float(best[0] - best[1]) if len(best) > 1 else float("inf"),
    )


def accuracies(records: Sequence[ChoiceRecord], seed: int = 0) -> dict[str, ScoreInterval]:
    """The share of right choices by each measure, with intervals over items."""
    return {measure: mean_of([record.right(measure) for record in records], seed) for measure in MEASURES}


def choice_samples(records: Sequence[ChoiceRecord]) -> dict[str, Any]:
    """What `accuracies` are made of: right or wrong of each item, by measure."""
    return {measure: mean_samples([record.right(measure) for record in records]) for measure in MEASURES}
