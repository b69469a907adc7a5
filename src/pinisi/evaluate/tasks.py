"""Describes tasks as data: which file is asked in which language, in which way and with which examples before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pinisi.base import digests
from pinisi.base.errors import ConfigError
from pinisi.base.settings import at_least
from pinisi.base.settings import load as load_settings
from pinisi.base.typed_toml import Fault, SettingsSource, check
from pinisi.evaluate.examples import ChoiceItem, Item, ReadingItem, TranslationItem
from pinisi.evaluate.formats import FORMATS, MADE, read_items_of
from pinisi.evaluate.induction import ITEMS, made_items, words_of_file
from pinisi.evaluate.prompts import (
    CHOICE_STYLES,
    STYLES_OF,
    ChoicePrompt,
    reading_prompt,
    translation_prompt,
)

WordsOf = Callable[[str], Sequence[str]]  # of a language
BETWEEN = "\n\n"  # examples, as in the harness


@dataclass(frozen=True)
class EvaluationTask:
    """Names a file and how it is asked.

    file: of items; of a form whose items are made (copy, pattern) a list of words, one a line, or nothing for the vocabulary's own.
    style: how choices are asked, the form's usual way if None (see `prompts.CHOICE_STYLES`). examples: a file of the same form,
    whose first `shots` items stand before each question with their answers. chat: each example is a turn, and the model's template
    writes them. limit: only so many items, the first ones. source: of a translation, the other language as the file names it.
    column: the language as the file names it, where that isn't its code. stop: texts that end an answer; if None a line's end,
    in a chat nothing but the turn's. new_tokens: that an answer may have. bleu: sacrebleu's tokenizer for a translation's BLEU.
    """

    format: str
    language: str
    file: str = ""
    name: str | None = None
    style: str | None = None
    examples: str | None = None
    shots: int = 0
    chat: bool = False
    limit: int | None = None
    source: str = ""
    column: str | None = None
    stop: tuple[str, ...] | None = None
    new_tokens: int = 64
    bleu: str = "char"

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, shots=0, limit=1, new_tokens=1)
        if self.format not in FORMATS:
            yield Fault("format", f"one of {', '.join(FORMATS)}")
            return
        if self.style is not None and self.style not in STYLES_OF.get(self.format, ()):
            yield Fault("style", f"one of {', '.join(STYLES_OF.get(self.format, ())) or 'none'}")
        if FORMATS[self.format].kind == "translation" and not self.source:
            yield Fault("source", "the language to translate from")
        if self.shots and self.examples is None:
            yield Fault("examples", "a file, since there are shots")
        if self.format in MADE and (self.shots or self.examples):
            yield Fault("shots", f"none: items of {self.format} hold their own")
        if self.format not in MADE and not self.file:
            yield Fault("file", "the file of items")

    @property
    def kind(self) -> str:
        return FORMATS[self.format].kind

    @property
    def title(self) -> str:
        """The name that results stand under."""
        if self.name:
            return self.name
        pair = f"{self.source}-{self.language}" if self.source else self.language
        shots = f"-{self.shots}shot" if self.shots else ""
        return f"{self.format}-{pair}{f'-{self.style}' if self.style else ''}{shots}"

    @property
    def chosen_stop(self) -> tuple[str, ...]:
        if self.stop is not None:
            return self.stop
        return () if self.chat else ("\n",)

    @property
    def chosen_style(self) -> str:
        return self.style or STYLES_OF[self.format][0]


@dataclass(frozen=True)
class TaskFile:
    """A TOML file of [[tasks]]."""

    tasks: list[EvaluationTask] = field(default_factory=list)


def read_tasks(path: str | Path) -> list[EvaluationTask]:
    """The tasks of a TOML file; paths in it count from where it stands. Raises ConfigError."""
    found = load_settings(path, into=TaskFile).tasks
    home = Path(path).parent
    return [_at(task, home) for task in found]


def check_titles(tasks: Sequence[EvaluationTask]) -> None:
    """Raises ConfigError where results of two tasks would stand under one name."""
    titles = [task.title for task in tasks]
    if twice := {title for title in titles if titles.count(title) > 1}:
        raise ConfigError(f"two tasks are called {min(twice)}: give one a name of its own")


def parse_task(text: str, **settings: Any) -> EvaluationTask:
    """FORMAT:LANGUAGE:FILE, FORMAT:SOURCE-LANGUAGE:FILE of a translation, or copy:LANGUAGE, as a task. Raises ConfigError."""
    form, _, rest = text.partition(":")
    language, _, file = rest.partition(":")
    if not (form and language and (file or form in MADE)):
        raise ConfigError(f"--task {text}: needed FORMAT:LANGUAGE:FILE, such as xcopa:th:xcopa.test.th.jsonl")
    source = ""
    if form in FORMATS and FORMATS[form].kind == "translation":
        source, _, language = language.rpartition("-")
    task = EvaluationTask(form, language, file, source=source, **settings)
    check(task, SettingsSource(f"--task {text}"))
    return task


def _at(task: EvaluationTask, home: Path) -> EvaluationTask:
    examples = None if task.examples is None else str(home / task.examples)
    return replace(task, file=str(home / task.file) if task.file else "", examples=examples)


class AskedTask:
    """A task with its items read: what is asked of the model, item by item.

    words: of a language, for items that are made. digest: of the file's bytes, or of what was made; example_digest: of the
    examples'. skipped: items that can't be asked in text.
    """

    def __init__(self, task: EvaluationTask, words: WordsOf | None = None) -> None:
        self.task = task
        self.shots: Sequence[Item] = ()
        self.example_digest: str | None = None
        if task.format in MADE:
            self._make(words)
        else:
            self._read()

    def _make(self, words: WordsOf | None) -> None:
        task = self.task
        if words is None:
            raise ConfigError(
                f"items of {task.format} are made for a model's vocabulary: leave the task {task.title} out here"
            )
        known = words_of_file(task.file) if task.file else words(task.language)
        self.items: Sequence[Item] = made_items(task.format, task.language, known, task.limit or ITEMS)
        self.skipped = 0
        self.digest = digests.of_value([list(item) for item in self.items])

    def _read(self) -> None:
        task = self.task
        names = {"source": task.source, "target": task.column or task.language}
        items, self.skipped = read_items_of(task.format, task.file, **names)
        self.items = items[: task.limit]
        self.digest = digest_of(Path(task.file))
        self.example_digest = None if task.examples is None else digest_of(Path(task.examples))
        if task.examples is not None and task.shots:
            found, _ = read_items_of(task.format, task.examples, **names)
            if len(found) < task.shots:
                raise ConfigError(
                    f"{task.examples} has {len(found)} items, the task {task.title} wants {task.shots} shots"
                )
            self.shots = found[: task.shots]

    @property
    def delimiter(self) -> str:
        """What stands between a prompt and its continuation: nothing where a template has begun the answer."""
        return "" if self.task.chat else " "

    def choice(self, item: Item) -> ChoicePrompt:
        assert isinstance(item, ChoiceItem)
        return CHOICE_STYLES[self.task.chosen_style](item, self.task.format, self.task.language)

    def prompt(self, item: Item) -> str:
        """An item in words, without examples."""
        if isinstance(item, ReadingItem):
            return reading_prompt(item, self.task.language)
        if isinstance(item, TranslationItem):
            return translation_prompt(item, self.task.source, self.task.language)
        return self.choice(item).prompt

    def answer(self, item: Item) -> str:
        """What an example shows behind its prompt."""
        if isinstance(item, ReadingItem):
            return item.answers[0]
        if isinstance(item, TranslationItem):
            return item.reference
        asked = self.choice(item)
        return asked.choices[asked.answer]

    def context(self, item: Item) -> str:
        """The whole plain prompt: examples with their answers, then the item."""
        shown = [f"{self.prompt(shot)}{self.delimiter}{self.answer(shot)}" for shot in self.shots]
        return BETWEEN.join([*shown, self.prompt(item)])

    def messages(self, item: Item) -> list[dict[str, str]]:
        """The same as turns of a chat."""
        turns = []
        for shot in self.shots:
            turns.append({"role": "user", "content": self.prompt(shot)})
            turns.append({"role": "assistant", "content": self.answer(shot)})
        return [*turns, {"role": "user", "content": self.prompt(item)}]


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files by name."""
    if path.is_dir():
        return digests.of_value({p.name: digests.of_file(p) for p in sorted(path.iterdir()) if p.is_file()})
    return digests.of_file(path)
