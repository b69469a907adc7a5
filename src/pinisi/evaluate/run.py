"""Measures one model on texts and tasks: reads what is asked, scores it, and says what was found and how to repeat it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from pinisi import __version__
from pinisi.base.errors import ConfigError
from pinisi.data.fertility import FertilityMeter
from pinisi.evaluate.choices import ChoiceRequests, accuracies, choice_samples
from pinisi.evaluate.confusion import LineLanguages
from pinisi.evaluate.contamination import clean_scores, contamination_of, item_texts
from pinisi.evaluate.corpus_index import CorpusIndex
from pinisi.evaluate.encoding import Continuation, PromptEncoder
from pinisi.evaluate.examples_shown import choice_examples, open_examples
from pinisi.evaluate.generation import Generator
from pinisi.evaluate.induction import vocabulary_words
from pinisi.evaluate.intervals import LEVEL, SAMPLES, ScoreInterval
from pinisi.evaluate.language_loss import LossText, loss_texts
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.open_answers import OpenRequests
from pinisi.evaluate.shard_texts import shard_texts, texts_of
from pinisi.evaluate.tasks import AskedTask, EvaluationTask, WordsOf, check_titles, digest_of

FORMAT = 1  # of the result

Score = Callable[[Sequence[Continuation]], list[np.ndarray]]


@dataclass(frozen=True)
class EvaluationSettings:
    """Says what a model is measured on.

    texts: {component: folder of text}. shards: {component: folder of token shards}. documents: only so many of each language.
    longest: tokens that the model reads at once; its own limit if None. seed: of the intervals.
    """

    tasks: Sequence[EvaluationTask] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    shards: Mapping[str, str] = field(default_factory=dict)
    documents: int | None = None
    longest: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class EvaluationLooks:
    """Holds what else is looked at, made by those who know it.

    languages: judges in which language answers are. words: that are known of a language, for items that are made (see `induction`);
    the vocabulary's own where there are none. index: of a corpus, in which the tasks' and texts' own items are looked up.
    """

    languages: LineLanguages | None = None
    words: WordsOf = lambda language: ()
    index: CorpusIndex | None = None


NO_LOOKS = EvaluationLooks()


@dataclass
class Evaluation:
    """What was found. result: JSON of scores with all that is needed to repeat them; records: of each task, item by item.

    tokens, seconds: of what was scored by likelihood.
    """

    result: dict[str, Any]
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0


class Evaluator:
    """Holds what is asked of a model, encoded, until it is scored. Raises DataError or ConfigError before any weight is read."""

    def __init__(
        self, model: MeasuredModel, settings: EvaluationSettings, looks: EvaluationLooks = NO_LOOKS
    ) -> None:
        self.model, self.settings, self.looks = model, settings, looks
        self.longest = model.longest if settings.longest is None else settings.longest
        if self.longest < 1:
            raise ConfigError(f"--longest {self.longest}: needed at least 1 token")
        check_titles(settings.tasks)
        encoder = PromptEncoder(model.tokenizer)
        self.tasks: list[ChoiceRequests | OpenRequests] = []
        for task in settings.tasks:
            asked = AskedTask(
                task,
                lambda language: self.looks.words(language) or vocabulary_words(encoder.tokenizer, language),
            )
            choice = task.kind == "choice"
            self.tasks.append(ChoiceRequests(asked, encoder, self.longest) if choice else OpenRequests(asked))
        self.texts: list[LossText] = []
        limits = model.spec.vocabulary, self.longest, settings.documents
        for component, folder in settings.texts.items():
            self.texts += loss_texts(component, folder, model.tokenizer, *limits)
        for component, folder in settings.shards.items():
            self.texts += shard_texts(component, folder, model.tokenizer, *limits)

    @property
    def generates(self) -> bool:
        """Whether any task needs a generator."""
        return any(isinstance(requests, OpenRequests) for requests in self.tasks)

    def continuations(self) -> list[Continuation]:
        """All that is to be scored by likelihood, in one order."""
        parts = [r.continuations for r in self.tasks if isinstance(r, ChoiceRequests)]
        parts += [text.continuations for text in self.texts]
        return [each for part in parts for each in part]

    def evaluate(self, score: Score, generator: Generator | None = None) -> Evaluation:
        """score: computes log-probabilities, such as `likelihood.score_here`. generator: needed where `generates` says so."""
        items = self.continuations()
        began = time.perf_counter()
        scores = iter(score(items) if items else [])
        found = Evaluation(self._how(), {}, sum(len(item.tokens) - 1 for item in items))
        found.seconds = time.perf_counter() - began
        tasks = [self._task(requests, scores, generator, found.records) for requests in self.tasks]
        losses = [
            _loss_result(text, list(islice(scores, len(text.continuations))), self.settings.seed)
            for text in self.texts
        ]
        found.result |= {"tasks": tasks, "losses": losses}
        self._look(found.result)
        return found

    def _look(self, result: dict[str, Any]) -> None:
        """Adds what the tokenizer costs each language, and which items a corpus holds."""
        meter = FertilityMeter(self.model.tokenizer)
        for requests, task in zip(self.tasks, result["tasks"], strict=True):
            items = [(item.id, item_texts(item)) for item in requests.asked.items]
            texts = (text for _, parts in items for part in parts.values() for text in part)
            task["fertility"] = meter.of(task["language"], texts)
            self._mark(task, items)
        for text, loss in zip(self.texts, result["losses"], strict=True):
            loss["fertility"] = meter.of(text.language, texts_of(text))
            documents = zip(text.ids, texts_of(text), strict=True)
            self._mark(loss, ((id, {"text": [each]}) for id, each in documents))

    def _mark(self, part: dict[str, Any], items: Iterable[tuple[str, Mapping[str, Sequence[str]]]]) -> None:
        if (index := self.looks.index) is not None:
            found = contamination_of(index, items)
            clean = clean_scores(part["samples"], found.contaminated, self.settings.seed)
            part["contamination"] = {"index": index.digest, **found.to_json(), "clean_scores": clean}

    def _task(
        self,
        requests: ChoiceRequests | OpenRequests,
        scores: Iterator[np.ndarray],
        generator: Generator | None,
        records: dict[str, list[dict[str, Any]]],
    ) -> dict[str, Any]:
        seed, title = self.settings.seed, requests.asked.task.title
        if isinstance(requests, ChoiceRequests):
            found = requests.records(list(islice(scores, len(requests.continuations))))
            records[title] = [record._asdict() for record in found]
            more = {
                "chance": requests.chance,
                "merged_borders": requests.merged,
                "cut_on_the_left": requests.cut,
                "examples": choice_examples(requests.asked, found),
            }
            return _task_result(requests.asked, more, accuracies(found, seed), choice_samples(found))
        if generator is None:
            raise ConfigError(f"the task {title} has answers to be written: give a generator")
        before = getattr(generator, "cut", 0)
        opened = requests.scored(requests.answers(generator), seed)
        records[title] = opened.records
        if (judge := self.looks.languages) is not None:
            confusion = opened.add_languages(requests.asked.task.language, judge, seed)
        more = {
            "ended": opened.ended,
            "cut_on_the_left": getattr(generator, "cut", 0) - before,
            "signatures": opened.signatures,
            "examples": open_examples(requests.asked, opened.records),
            **({} if judge is None else {"confusion": confusion}),
        }
        return _task_result(requests.asked, more, opened.scores, opened.measures)

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


def _task_result(
    asked: AskedTask,
    more: Mapping[str, Any],
    estimates: Mapping[str, ScoreInterval],
    measures: Mapping[str, Any],
) -> dict[str, Any]:
    style = asked.task.chosen_style if asked.task.kind == "choice" else None
    return {
        "name": asked.task.title,
        "language": asked.task.language,
        "kind": asked.task.kind,
        "settings": {**asdict(asked.task), "style": style},
        "digest": asked.digest,
        "example_digest": asked.example_digest,
        "items": len(asked.items),
        "left_out": asked.skipped,
        **more,
        "scores": {name: estimate._asdict() for name, estimate in estimates.items()},
        "samples": {"ids": [item.id for item in asked.items], "measures": measures},
    }


def _loss_result(text: LossText, log_probs: Sequence[np.ndarray], seed: int) -> dict[str, Any]:
    return {
        "component": text.component,
        "language": text.language,
        "file": str(text.file),
        "digest": text.digest,
        "documents": len(text.bytes),
        "bytes": sum(text.bytes),
        "tokens": sum(each.scored for each in text.continuations),
        "scores": {name: each._asdict() for name, each in text.scores(log_probs, seed).items()},
        "samples": text.samples(log_probs),
    }
