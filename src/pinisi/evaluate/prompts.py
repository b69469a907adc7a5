"""Makes prompts of items: templates by form of task and language, as in lm-evaluation-harness where it has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pinisi.base.errors import DataError
from pinisi.evaluate.examples import ChoiceItem, ReadingItem, TranslationItem
from pinisi.evaluate.formats import LETTERS

# Because and therefore, of XCOPA; the harness has these of et ht id it qu sw ta th tr vi zh.
CONNECTORS = {
    "en": ("because", "so"),
    "id": ("karena", "maka"),
    "jv": ("amarga", "mula"),
    "ms": ("kerana", "maka"),
    "su": ("sabab", "jadi"),
    "th": ("เพราะ", "ดังนั้น"),
    "tl": ("dahil", "kaya"),
    "vi": ("bởi vì", "vì vậy"),
    "zh": ("因为", "所以"),
}
# Context, question, answer; the harness has these of XQuAD's languages and TyDiQA's id.
READING_WORDS = {
    "en": ("Context", "Question", "Answer"),
    "id": ("Konteks", "Pertanyaan", "Jawaban"),
    "ms": ("Konteks", "Soalan", "Jawapan"),
    "th": ("บริบท", "คำถาม", "คำตอบ"),
    "vi": ("Bối cảnh", "Câu hỏi", "Trả lời"),
    "zh": ("语境", "问题", "回答"),
}
LANGUAGE_NAMES = {
    "ceb": "Cebuano", "en": "English", "id": "Indonesian", "ilo": "Ilocano", "jv": "Javanese", "km": "Khmer", "lo": "Lao",
    "ms": "Malay", "my": "Burmese", "su": "Sundanese", "th": "Thai", "tl": "Tagalog", "vi": "Vietnamese", "war": "Waray",
    "zh": "Chinese",
}  # fmt: skip


class ChoicePrompt(NamedTuple):
    """What is asked, how it may go on, and which continuation is right. choices: what scores are normalised by the length of."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


def letters(item: ChoiceItem, form: str, language: str) -> ChoicePrompt:
    """Choices stand in the prompt with letters, and a letter is the answer."""
    marks = tuple(LETTERS[: len(item.choices)])
    if form == "belebele":  # the harness's belebele
        listed = "\n".join(f"{mark}: {choice}" for mark, choice in zip(marks, item.choices, strict=True))
        return ChoicePrompt(
            f"P: {item.passage}\nQ: {item.question.strip()}\n{listed}\nAnswer:", marks, item.answer
        )
    listed = "\n".join(f"{mark}. {choice}" for mark, choice in zip(marks, item.choices, strict=True))
    passage = f"{item.passage.strip()}\n" if item.passage.strip() else ""
    question = f"{passage}{item.question.strip()}"  # the harness's global_mmlu
    return ChoicePrompt(f"{question}\n{listed}\nAnswer:", marks, item.answer)


def cloze(item: ChoiceItem, form: str, language: str) -> ChoicePrompt:
    """The text of a choice itself is the answer."""
    if form == "indoculture":  # a premise and how it goes on
        return ChoicePrompt(item.question.strip(), item.choices, item.answer)
    passage = f"P: {item.passage}\n" if item.passage.strip() else ""
    return ChoicePrompt(f"{passage}Q: {item.question.strip()}\nAnswer:", item.choices, item.answer)


def premise(item: ChoiceItem, form: str, language: str) -> ChoicePrompt:
    """XCOPA as the harness asks it: the premise's last character is cut off, also where it is no full stop (Thai has none)."""
    return _continued(item, language, item.passage.strip()[:-1])


def whole_premise(item: ChoiceItem, form: str, language: str) -> ChoicePrompt:
    """XCOPA with nothing but a sign cut off the premise's end."""
    return _continued(item, language, re.sub(r"[.。！!?？]\s*$", "", item.passage.strip()))


def as_it_is(item: ChoiceItem, form: str, language: str) -> ChoicePrompt:
    """The prompt is the item's question, and a choice goes on with it."""
    return ChoicePrompt(item.question, item.choices, item.answer)


def _continued(item: ChoiceItem, language: str, premise: str) -> ChoicePrompt:
    if language not in CONNECTORS:
        raise DataError(f"xcopa has no connecting words of {language!r}; there are {', '.join(CONNECTORS)}")
    connector = CONNECTORS[language][item.question == "effect"]
    choices = tuple(choice[0].lower() + choice[1:] for choice in item.choices)
    return ChoicePrompt(f"{premise} {connector}", choices, item.answer)


# Ways of asking a question with choices; the first that a form has is its usual one.
CHOICE_STYLES: dict[str, Callable[[ChoiceItem, str, str], ChoicePrompt]] = {
    "letters": letters,
    "cloze": cloze,
    "premise": premise,
    "whole-premise": whole_premise,
    "as-it-is": as_it_is,
}
STYLES_OF = {
    "copy": ("as-it-is",),
    "pattern": ("as-it-is",),
    "belebele": ("letters", "cloze"),
    "xcopa": ("premise", "whole-premise"),
    "m3exam": ("letters", "cloze"),
    "global-mmlu": ("letters", "cloze"),
    "indoculture": ("cloze", "letters"),
}


def reading_prompt(item: ReadingItem, language: str) -> str:
    """A passage, a question, and where the answer begins."""
    context, question, answer = READING_WORDS.get(language, READING_WORDS["en"])
    return f"{context}: {item.passage}\n\n{question}: {item.question}\n\n{answer}:"


def translation_prompt(item: TranslationItem, source: str, target: str) -> str:
    """A sentence with its language's name, and the name of the one that it is to be put into."""
    return f"{LANGUAGE_NAMES.get(source, source)}: {item.source}\n{LANGUAGE_NAMES.get(target, target)}:"
