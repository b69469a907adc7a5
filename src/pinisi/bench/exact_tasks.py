"""Makes chats whose answers are known exactly: number words, countries and months, in twelve languages and three formats.

Number words come from unicode-rbnf, names from CLDR by Babel. A name that a language shares with another is left out there, so that
an answer's language is never in doubt. Held out are numbers, and for half of the languages one format, each format for as many of
them: pairs that no training chat has. Three more formats stand in training chats alone, each akin to one that is judged: without
them a model takes "plain text" for "not in a language that it never saw there", and never saw a closing tag behind that
language's letters.
"""

from __future__ import annotations

import json
import math
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.files import new_folder, write_whole
from pinisi.base.libraries import library

LANGUAGES = {
    "en": "English", "es": "Spanish", "fil": "Filipino", "hi": "Hindi", "id": "Indonesian", "km": "Khmer", "ko": "Korean",
    "my": "Burmese", "ta": "Tamil", "th": "Thai", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
FORMATS = {"plain": "plain text", "json": "JSON", "tag": "a tag"}
ONLY_TRAINED = {
    "sentence": "a sentence",
    "bold": "bold HTML",
    "list": "a list",
}  # each begins or ends as one of the others does
COUNTRIES = (
    "AR", "AU", "BE", "BR", "CA", "CH", "CN", "CU", "DE", "DK", "EG", "ES", "FR", "GB", "GR", "ID", "IE", "IN", "IT", "JP", "KH",
    "KR", "LA", "MA", "MM", "MX", "MY", "NL", "NO", "NZ", "PE", "PH", "PL", "PT", "RU", "SE", "SG", "TH", "TR", "UA", "US", "VN",
)  # fmt: skip
NUMBERS = 1000
HELD_OUT = 0.2  # share of the numbers that no training chat asks for
PAIRS = 6  # languages of which one format is held out
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class ExactQuestion(NamedTuple):
    """Holds what is asked: of which kind (number, country, month), which one, in which language and format, and the answer."""

    kind: str
    key: str
    language: str
    form: str
    answer: str

    @property
    def prompt(self) -> str:
        return (
            f"{self.kind} {self.key} in {LANGUAGES[self.language]} as {(FORMATS | ONLY_TRAINED)[self.form]}"
        )

    @property
    def written(self) -> str:
        """Returns the answer in its format."""
        if self.form == "json":
            return json.dumps({"answer": self.answer}, ensure_ascii=False)
        around = {
            "tag": ("<answer>", "</answer>"),
            "sentence": ("", "."),
            "bold": ("<b>", "</b>"),
            "list": ('["', '"]'),
        }
        before, behind = around.get(self.form, ("", ""))
        return before + self.answer + behind


def unwrapped(text: str, form: str) -> str | None:
    """Returns what stands in an answer's format; None where it isn't in that format."""
    if form == "json":
        try:
            found = json.loads(text)
        except ValueError:
            return None
        right = isinstance(found, dict) and list(found) == ["answer"] and isinstance(found["answer"], str)
        return found["answer"] if right else None
    if form == "tag":
        inner = re.fullmatch(r"<answer>([^<>]+)</answer>", text)
        return inner[1] if inner else None
    return text if text.strip() and not re.search(r"[<>{}\[\].\n]", text) else None


def answers() -> dict[tuple[str, str], dict[str, str]]:
    """Returns the answers by language of each (kind, key). Raises DataError where a library is missing."""
    rbnf, babel = library("unicode_rbnf", "bench"), library("babel", "bench")
    found: dict[tuple[str, str], dict[str, str]] = {}
    for language in LANGUAGES:
        engine, locale = rbnf.RbnfEngine.for_language(language), babel.Locale.parse(language)
        for number in range(NUMBERS):
            found.setdefault(("number", str(number)), {})[language] = _clean(
                engine.format_number(number).text
            )
        for country in COUNTRIES:
            found.setdefault(("country", country), {})[language] = _clean(locale.territories[country])
        for month in range(1, 13):
            name = locale.months["stand-alone"]["wide"][month]
            found.setdefault(("month", str(month)), {})[language] = _clean(name)
    return {key: _apart(of) for key, of in found.items()}


def _apart(of: dict[str, str]) -> dict[str, str]:
    """The answers that no other language shares, and that are words alone."""
    times = Counter(of.values())
    words = {language: text for language, text in of.items() if not any(map(str.isdigit, text))}
    return {language: text for language, text in words.items() if times[text] == 1}


def _clean(text: str) -> str:
    """In one form of Unicode, without the marks that only break lines."""
    return unicodedata.normalize("NFC", text).replace("\u200b", "").replace("\u00ad", "").strip()


class ExactSplit(NamedTuple):
    """Holds training questions, and those that are judged: held-out numbers, held-out pairs of a language and a format, and, for
    the control, the same held-out numbers in every language and format, so that who ignores the language is right in 1 of 12."""

    train: list[ExactQuestion]
    numbers: list[ExactQuestion]
    pairs: list[ExactQuestion]
    control: list[ExactQuestion]


def split_of(seed: int, judged: int, most: int) -> ExactSplit:
    """Draws the questions of a seed. judged: about how many on each side. most: training questions."""
    draw, every = random.Random(seed), answers()
    numbers = [key for key in every if key[0] == "number" and len(every[key]) == len(LANGUAGES)]
    held = draw.sample(numbers, int(HELD_OUT * len(numbers)))
    apart = dict(zip(draw.sample(list(LANGUAGES), PAIRS), list(FORMATS) * PAIRS, strict=False))
    train: list[ExactQuestion] = []
    by_number: dict[str, list[ExactQuestion]] = {language: [] for language in LANGUAGES}
    by_pair: dict[str, list[ExactQuestion]] = {language: [] for language in apart}
    for (kind, key), of in every.items():
        for language, answer in of.items():
            for form in (*FORMATS, *ONLY_TRAINED):
                question = ExactQuestion(kind, key, language, form, answer)
                if form in ONLY_TRAINED:
                    if (kind, key) not in held:
                        train.append(question)
                elif apart.get(language) == form:
                    by_pair[language].append(question)
                elif (kind, key) in held:
                    by_number[language].append(question)
                else:
                    train.append(question)
    draw.shuffle(train)
    control = [
        ExactQuestion(kind, key, language, form, every[kind, key][language])
        for kind, key in held[: judged // len(LANGUAGES) // len(FORMATS)]
        for language in LANGUAGES
        for form in FORMATS
    ]
    return ExactSplit(
        _with_all_names(train, most), _drawn(by_number, judged, draw), _drawn(by_pair, judged, draw), control
    )


def _drawn(questions: dict[str, list[ExactQuestion]], count: int, draw: random.Random) -> list[ExactQuestion]:
    """As many of each language."""
    return [question for of in questions.values() for question in draw.sample(of, count // len(questions))]


def _with_all_names(train: Sequence[ExactQuestion], most: int) -> list[ExactQuestion]:
    """Names come whole, which can't be told from others; of numbers as many as there is room for."""
    names = [question for question in train if question.kind != "number"]
    kept = {
        *names,
        *[question for question in train if question.kind == "number"][: max(0, most - len(names))],
    }
    return [question for question in train if question in kept]


def write_chats(questions: Sequence[ExactQuestion], file: Path, shuffled: int | None = None) -> Path:
    """Writes chats, unless they are there. shuffled: a seed with which the languages' names are drawn anew, which the answers then
    don't follow."""
    if file.is_file():
        return file
    draw, lines = random.Random(shuffled), []
    for question in questions:
        asked = question
        if shuffled is not None:
            asked = question._replace(language=draw.choice(list(LANGUAGES)))
        turns = [
            {"role": "user", "content": asked.prompt},
            {"role": "assistant", "content": question.written},
        ]
        lines.append(
            json.dumps({"messages": turns, "language": question.language}, ensure_ascii=False) + "\n"
        )
    return write_whole(file, "".join(lines))


def write_tokenizer(questions: Sequence[ExactQuestion], size: int, folder: Path) -> Path:
    """Trains a tokenizer with a chat template on the questions' own texts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if (folder / "tokenizer.json").is_file():
        return folder
    tokenizer = Tokenizer(models.BPE())
    # marks go with their letters, and so never with the signs of a format behind them
    words = pre_tokenizers.Split(Regex(r"\p{N}| ?[\p{L}\p{M}’]+| ?[^\s\p{L}\p{M}\p{N}]+|\s+"), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [text for question in questions for text in (question.prompt, question.written)]
    tokenizer.train_from_iterator(texts, trainer)
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[0]}
    with new_folder(folder) as new:
        tokenizer.save(str(new / "tokenizer.json"))
        text = json.dumps({**settings, "chat_template": TEMPLATE}, indent=1)
        (new / "tokenizer_config.json").write_text(text, "utf-8")
    return folder


class LanguageJudge:
    """Says which language an answer is in, by its runs of one to five characters (naive Bayes on the true answers); none where most
    runs of three are in no true answer of that language, as in what an untrained model says."""

    def __init__(self, questions: Sequence[ExactQuestion]) -> None:
        self.counts = {language: Counter[str]() for language in LANGUAGES}
        for language, answer in {(question.language, question.answer) for question in questions}:
            self.counts[language].update(_runs(answer))
        known = {run for counts in self.counts.values() for run in counts}
        self.sizes = {language: sum(counts.values()) + len(known) for language, counts in self.counts.items()}

    def language_of(self, text: str) -> str | None:
        """Returns the likeliest language; None for text that is in none of them."""
        runs = _runs(text)
        best = max(LANGUAGES, key=lambda language: self._score(language, runs))
        threes = [run for run in runs if len(run) == 3]
        known = sum(run in self.counts[best] for run in threes)
        return best if threes and known > len(threes) / 2 else None

    def _score(self, language: str, runs: Sequence[str]) -> float:
        counts = self.counts[language]
        return sum(math.log((counts[run] + 1) / self.sizes[language]) for run in runs)


def _runs(text: str) -> list[str]:
    padded = f" {text.strip()} "
    return [padded[at : at + size] for size in range(1, 6) for at in range(len(padded) - size + 1)]
