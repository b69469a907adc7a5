"""Asks the tasks whose answers a model writes itself, and scores what it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pinisi.evaluate.answers import compared
from pinisi.evaluate.confusion import ConfusionScores, LineLanguages
from pinisi.evaluate.examples import ReadingItem, TranslationItem
from pinisi.evaluate.generation import Generated, GenerationSettings, Generator, OpenPrompt
from pinisi.evaluate.intervals import ScoreInterval, mean_of
from pinisi.evaluate.prompting import without_reasoning
from pinisi.evaluate.samples import mean_samples
from pinisi.evaluate.tasks import AskedTask
from pinisi.evaluate.translation import check_tokenizer, translation_samples, translation_scores


class OpenRequests:
    """All prompts of a task of answers or translations. Raises DataError for what can't be scored, before anything is asked."""

    def __init__(self, asked: AskedTask) -> None:
        self.asked = asked
        task = asked.task
        self.settings = GenerationSettings(task.new_tokens, task.chosen_stop)
        self.references = [_references(item) for item in asked.items]
        if task.kind == "translation":
            check_tokenizer(task.bleu, [each[0] for each in self.references])

    def prompts(self) -> list[OpenPrompt]:
        chat, asked = self.asked.task.chat, self.asked
        return [
            OpenPrompt(messages=tuple(asked.messages(item))) if chat else OpenPrompt(asked.context(item))
            for item in asked.items
        ]

    def answers(self, generator: Generator) -> list[Generated]:
        return generator.generate(self.prompts(), self.settings)

    def scored(self, answers: Sequence[Generated], seed: int = 0) -> OpenScores:
        """Scores all answers, in the order of the items."""
        task = self.asked.task
        texts = [without_reasoning(answer.text).strip() for answer in answers]
        records = [
            {
                "id": item.id,
                "answer": text,
                "references": list(right),
                "tokens": answer.tokens,
                "ended": answer.ended,
            }
            for item, text, right, answer in zip(
                self.asked.items, texts, self.references, answers, strict=True
            )
        ]
        ended = dict(sorted(Counter(answer.ended for answer in answers).items()))
        if task.kind == "translation":
            scores, signatures = translation_scores(
                texts, [right[0] for right in self.references], tokenizer=task.bleu, seed=seed
            )
            sums = translation_samples(texts, [right[0] for right in self.references], tokenizer=task.bleu)
            return OpenScores(scores, signatures, ended, records, sums)
        found = [
            compared(text, right, task.language) for text, right in zip(texts, self.references, strict=True)
        ]
        for record, score in zip(records, found, strict=True):
            record |= score._asdict()
        means = {
            name: mean_of([getattr(score, name) for score in found], seed) for name in ("exact_match", "f1")
        }
        values = {name: mean_samples([getattr(score, name) for score in found]) for name in means}
        return OpenScores(means, {}, ended, records, values)


class OpenScores:
    """Holds scores with intervals, sacrebleu's signatures, how answers ended, what was found of each item, and what scores are
    made of, by measure (see `samples`)."""

    def __init__(
        self,
        scores: dict[str, ScoreInterval],
        signatures: dict[str, str],
        ended: dict[str, int],
        records: list[dict[str, Any]],
        measures: dict[str, Any],
    ) -> None:
        self.scores, self.signatures, self.ended, self.records = scores, signatures, ended, records
        self.measures = measures

    def add_languages(self, language: str, judge: LineLanguages, seed: int = 0) -> dict[str, Any]:
        """Adds scores of language confusion, and to each record what was found; returns counts."""
        found = ConfusionScores([record["answer"] for record in self.records], language, judge, seed)
        for record, answer in zip(self.records, found.answers, strict=True):
            record["language"] = answer._asdict()
        self.scores |= found.scores()
        self.measures |= found.measures()
        return found.told()


def _references(item: Any) -> tuple[str, ...]:
    assert isinstance(item, ReadingItem | TranslationItem)
    return item.answers if isinstance(item, ReadingItem) else (item.reference,)
