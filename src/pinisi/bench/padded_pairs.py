"""Makes chats and preference pairs whose answers are known exactly and end with some harmless sentences more or fewer.

Questions ask for numbers in words. A pair's chosen answer is right and its rejected one is another number's; most chosen answers
have more sentences behind them than the rejected ones: a loss that doesn't know of length learns both, to be right and to be long.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.files import write_whole
from pinisi.base.libraries import library
from pinisi.bench.exact_tasks import ExactQuestion

LANGUAGES = {"en": "English", "es": "Spanish", "id": "Indonesian"}
NUMBERS = 1000
PADDING = (" Glad to help.", " That is all.", " Ask me more.", " Have a good day.")  # always in this order
LONGER, ALIKE = 0.6, 0.2  # shares of pairs whose chosen answer has more sentences, and as many
END = "."  # behind the number


class PaddedSplit(NamedTuple):
    """Holds questions: of chats, of pairs to train on, of pairs and of answers to judge. No number is in two of them."""

    chats: list[ExactQuestion]
    pairs: list[ExactQuestion]
    held_out: list[ExactQuestion]
    asked: list[ExactQuestion]


def split_questions(seed: int, held_out: int, asked: int) -> PaddedSplit:
    """Draws the questions of a seed. held_out, asked: about how many pairs and answers are judged. Chats and pairs share the
    other numbers, as they do where a model is aligned on what it was fine-tuned on."""
    draw = random.Random(seed)
    numbers = draw.sample(range(NUMBERS), NUMBERS)
    places = held_out // len(LANGUAGES), (held_out + asked) // len(LANGUAGES)
    judged, answered, rest = numbers[: places[0]], numbers[places[0] : places[1]], numbers[places[1] :]
    every = words()
    parts = [
        [every[language, n] for n in part for language in LANGUAGES] for part in (judged, answered, rest)
    ]
    for part in parts:
        draw.shuffle(part)
    return PaddedSplit(parts[2], parts[2], parts[0], parts[1])


def words() -> dict[tuple[str, int], ExactQuestion]:
    """Returns the question of each language and number. Raises DataError where a library is missing."""
    rbnf = library("unicode_rbnf", "bench")
    found = {}
    for language in LANGUAGES:
        engine = rbnf.RbnfEngine.for_language(language)
        for number in range(NUMBERS):
            text = engine.format_number(number).text.replace("\u00ad", "")
            found[language, number] = ExactQuestion("number", str(number), language, "plain", text)
    return found


def padded(answer: str, sentences: int) -> str:
    """Returns an answer with so many of the sentences behind it."""
    return answer + END + "".join(PADDING[:sentences])


def value_of(text: str) -> str:
    """Returns what an answer says, without the sentences behind it."""
    return text.strip().split(END)[0]


def prompt_of(question: ExactQuestion) -> str:
    """Returns what is asked."""
    return f"number {question.key} in {LANGUAGES[question.language]}"


def write_padded_chats(questions: Sequence[ExactQuestion], file: Path, seed: int) -> Path:
    """Writes chats, unless they are there: each question with no sentence behind its answer, or with some."""
    if file.is_file():
        return file
    draw, lines = random.Random(f"chats {seed}"), []
    for question in questions:
        # stopping is as likely as going on after each sentence, so that little moves the length either way
        sentences = next((n for n in range(len(PADDING)) if draw.random() < 0.5), len(PADDING))
        turns = [
            {"role": "user", "content": prompt_of(question)},
            {"role": "assistant", "content": padded(question.answer, sentences)},
        ]
        lines.append(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
    return write_whole(file, "".join(lines))


def write_pairs(questions: Sequence[ExactQuestion], file: Path, seed: int, shuffled: bool = False) -> Path:
    """Writes pairs, unless they are there. shuffled: which answer is the chosen one is drawn, half and half."""
    if file.is_file():
        return file
    draw, every, lines = random.Random(f"pairs {seed} {file.stem}"), words(), []
    for question in questions:
        sides = [padded(question.answer, 0), padded(_wrong(question, every, draw), 0)]
        sides = [side + "".join(PADDING[:n]) for side, n in zip(sides, _sentences(draw), strict=True)]
        if shuffled and draw.random() < 0.5:
            sides.reverse()
        record: dict[str, Any] = {"prompt": prompt_of(question), "chosen": sides[0], "rejected": sides[1]}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return write_whole(file, "".join(lines))


def _sentences(draw: random.Random) -> tuple[int, int]:
    """How many sentences stand behind the chosen and the rejected answer."""
    kind = draw.random()
    if kind < ALIKE:
        return (n := draw.randrange(len(PADDING) + 1)), n
    more, fewer = sorted(draw.sample(range(len(PADDING) + 1), 2), reverse=True)
    return (more, fewer) if kind < ALIKE + LONGER else (fewer, more)


def _wrong(question: ExactQuestion, every: dict[tuple[str, int], ExactQuestion], draw: random.Random) -> str:
    """The words of a number that differs in one digit."""
    while True:
        number = int(question.key)
        digit = 10 ** draw.randrange(len(question.key))
        other = number - number // digit % 10 * digit + draw.randrange(10) * digit
        if other != number:
            return every[question.language, other].answer
