"""Measures one model on texts and tasks: reads what is asked, scores it, and says what was found and how to repeat it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from pinisi import __version__
from pinisi.base.errors import ConfigError
from pinisi.evaluate.choices import ChoiceRecord, ChoiceRequests, accuracies
from pinisi.evaluate.encoding import Continuation, PromptEncoder
from pinisi.evaluate.intervals import LEVEL, SAMPLES, ScoreInterval
from pinisi.evaluate.language_loss import LossText, loss_texts
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.tasks import AskedTask, EvaluationTask, digest_of

FORMAT = 1  # of the result

Score = Callable[[Sequence[Continuation]], list[np.ndarray]]


@dataclass(frozen=True)
class EvaluationSettings:
    """Says what a model is measured on.

    texts: {component: folder}. longest: tokens that the model reads at once; its own limit if None. seed: of the intervals.
    """

    tasks: Sequence[EvaluationTask] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    longest: int | None = None
    seed: int = 0


@dataclass
class Evaluation:
    """What was found. result: JSON of scores with all that is needed to repeat them; records: of each task, item by item."""

    result: dict[str, Any]
    records: dict[str, list[ChoiceRecord]]
    tokens: int = 0
    seconds: float = 0.0


class Evaluator:
    """Holds what is asked of a model, encoded, until it is scored. Raises DataError or ConfigError before any weight is read."""

    def __init__(self, model: MeasuredModel, settings: EvaluationSettings) -> None:
        self.model, self.settings = model, settings
        self.longest = settings.longest or model.longest
        if self.longest < 1:
            raise ConfigError(f"--longest {self.longest}: needed at least 1 token")
        self.encoder = PromptEncoder(model.tokenizer)
        self.choices: list[ChoiceRequests] = []
        self.texts: list[LossText] = []
        for task in settings.tasks:
            self.choices.append(ChoiceRequests(AskedTask(task), self.encoder, self.longest))
        for component, folder in settings.texts.items():
            rows = model.spec.vocabulary
            self.texts += loss_texts(component, folder, model.tokenizer, rows, self.longest)
        titles = [requests.asked.task.title for requests in self.choices]
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise ConfigError(f"two tasks are called {min(twice)}: give one a name of its own")

    def continuations(self) -> list[Continuation]:
        """All that is to be scored, in one order."""
        parts = [part.continuations for part in self.choices] + [part.continuations for part in self.texts]
        return [each for part in parts for each in part]

    def evaluate(self, score: Score) -> Evaluation:
        """score: computes log-probabilities, such as `likelihood.score_here`."""
        items = self.continuations()
        began = time.perf_counter()
        scores = score(items) if items else []
        seconds = time.perf_counter() - began
        seed, at = self.settings.seed, 0
        tasks, losses, records = [], [], {}
        for requests in self.choices:
            found = requests.records(scores[at : at + len(requests.continuations)])
            at += len(requests.continuations)
            tasks.append(_task_result(requests, accuracies(found, seed)))
            records[requests.asked.task.title] = found
        for text in self.texts:
            estimates = text.scores(scores[at : at + len(text.continuations)], seed)
            at += len(text.continuations)
            losses.append(_loss_result(text, estimates))
        result = {**self._how(), "tasks": tasks, "losses": losses}
        return Evaluation(result, records, sum(len(item.tokens) - 1 for item in items), seconds)

    def _how(self) -> dict[str, Any]:
        model = self.model
        return {
            "format": FORMAT,
            "versions": {
                "pinisi": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            "model": {
                "path": str(model.path),
                "kind": model.kind,
                "digest": model.digest(),
                "dtype": str(model.dtype).removeprefix("torch."),
                "tokenizer": digest_of(Path(model.tokenizer) / "tokenizer.json"),
                "longest": self.longest,
            },
            "intervals": {"level": LEVEL, "samples": SAMPLES, "seed": self.settings.seed},
        }


def _task_result(requests: ChoiceRequests, estimates: Mapping[str, ScoreInterval]) -> dict[str, Any]:
    asked = requests.asked
    return {
        "name": asked.task.title,
        "language": asked.task.language,
        "kind": asked.task.kind,
        "settings": {**asdict(asked.task), "style": asked.task.chosen_style},
        "digest": asked.digest,
        "example_digest": asked.example_digest,
        "items": len(asked.items),
        "left_out": asked.skipped,
        "merged_borders": requests.merged,
        "cut_on_the_left": requests.cut,
        "scores": {name: estimate._asdict() for name, estimate in estimates.items()},
    }


def _loss_result(text: LossText, estimates: Mapping[str, ScoreInterval]) -> dict[str, Any]:
    return {
        "component": text.component,
        "language": text.language,
        "file": str(text.file),
        "digest": text.digest,
        "documents": len(text.bytes),
        "bytes": sum(text.bytes),
        "tokens": sum(each.scored for each in text.continuations),
        "scores": {name: estimate._asdict() for name, estimate in estimates.items()},
    }
