"""Defines an item of a task, before it becomes a prompt."""

from __future__ import annotations

from typing import NamedTuple


class ChoiceItem(NamedTuple):
    """A question with choices, of which number `answer` is right. passage: a text that it is about, or nothing."""

    id: str
    passage: str
    question: str
    choices: tuple[str, ...]
    answer: int


class ReadingItem(NamedTuple):
    """A question about a passage, with all answers that count as right."""

    id: str
    passage: str
    question: str
    answers: tuple[str, ...]


class TranslationItem(NamedTuple):
    """A sentence and its translation by a person."""

    id: str
    source: str
    reference: str


Item = ChoiceItem | ReadingItem | TranslationItem
