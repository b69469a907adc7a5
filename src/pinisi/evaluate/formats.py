"""Reads items of tasks from local files, in the forms in which the sets are published.

A form is one row of FORMATS. Files are JSON lines, or one JSON value where the set is published so; FLORES and NTREX are also read
as plain text, one sentence a line. Every error names the file and the line or item.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import DataError
from pinisi.base.json_text import read_utf8
from pinisi.evaluate.examples import ChoiceItem, Item, ReadingItem, TranslationItem

LETTERS = "ABCDEFGHIJ"
Record = Mapping[str, Any]


class TaskFormat(NamedTuple):
    """Says how a set is read and what its items are. read: from (record, id) to an item, or None for one that can't be asked."""

    read: Callable[[Record, str], Item | None]
    kind: str  # "choice", "answer" or "translation"
    source: str


def _belebele(record: Record, id: str) -> Item:
    """As on the hub (flores_passage, mc_answer1...), and as SEA-HELM keeps it (prompts, label)."""
    if "prompts" in record:
        asked = record["prompts"][0]
        choices = tuple(asked[f"choice{n}"] for n in range(1, 5))
        return ChoiceItem(
            str(record.get("id", id)),
            asked["text"],
            asked["question"],
            choices,
            LETTERS.index(record["label"]),
        )
    choices = tuple(record[f"mc_answer{n}"] for n in range(1, 5))
    name = f"{record['link']}#{record['question_number']}" if "link" in record else id
    right = int(record["correct_answer_num"]) - 1
    return ChoiceItem(name, record["flores_passage"], record["question"], choices, right)


def _xcopa(record: Record, id: str) -> Item:
    """question holds which side is asked for: "cause" or "effect"."""
    if record["question"] not in ("cause", "effect"):
        raise ValueError(f"question is {record['question']!r}, needed cause or effect")
    choices = (record["choice1"], record["choice2"])
    return ChoiceItem(
        str(record.get("idx", id)), record["premise"], record["question"], choices, int(record["label"])
    )


def _m3exam(record: Record, id: str) -> Item | None:
    """Options stand with their mark ("(1) ...", "A. ..."), and the answer is a mark. Questions about a picture have no text that
    asks all, and are left out."""
    background = record.get("background_description", record.get("background", []))
    passage = background if isinstance(background, str) else "\n".join(background)
    if any("(image)" in text for text in (passage, record["question_text"], *record["options"])):
        return None
    found = [re.match(r"\s*\(?(\w{1,2})[).．、:]\s*(.*)", option, re.S) for option in record["options"]]
    if not all(found):
        raise ValueError(f"options without a mark: {record['options']}")
    marks = [match[1] for match in found if match]
    choices = tuple(match[2].strip() for match in found if match)
    right = marks.index(str(record["answer_text"]).strip().strip("().．"))
    return ChoiceItem(str(record.get("id", id)), passage, record["question_text"], choices, right)


def _global_mmlu(record: Record, id: str) -> Item:
    choices = tuple(record[f"option_{letter}"] for letter in "abcd")
    return ChoiceItem(
        str(record.get("sample_id", id)), "", record["question"], choices, LETTERS.index(record["answer"])
    )


def _indoculture(record: Record, id: str) -> Item:
    """options: a list, or its text as in the published CSV, each "A. ..."."""
    options = record["options"]
    options = ast.literal_eval(options) if isinstance(options, str) else options
    answer = str(record["answer"]).strip().upper()
    right = LETTERS.index(answer) if answer in LETTERS else int(answer)
    choices = tuple(re.sub(r"^\s*[A-Ca-c][.)]\s*", "", option) for option in options)
    return ChoiceItem(str(record.get("id", id)), "", record["context"], choices, right)


def _reading(record: Record, id: str) -> Item:
    """A question of SQuAD's form: answers are {"text": [...]} or [{"text": ...}]."""
    answers = record["answers"]
    texts = answers["text"] if isinstance(answers, Mapping) else [a["text"] for a in answers]
    if not texts:
        raise ValueError("no answer")
    return ReadingItem(str(record.get("id", id)), record["context"], record["question"], tuple(texts))


def _translation(record: Record, id: str) -> Item:
    return TranslationItem(str(record.get("id", id)), record["source"], record["reference"])


def _made(record: Record, id: str) -> None:
    """Items of these forms are made, not read (see `induction`)."""
    raise ValueError("items of this form are made: no file of them is read")


MADE = ("copy", "pattern")
FORMATS = {
    "belebele": TaskFormat(_belebele, "choice", "arXiv 2308.16884"),
    "xcopa": TaskFormat(_xcopa, "choice", "arXiv 2005.00333"),
    "m3exam": TaskFormat(_m3exam, "choice", "arXiv 2306.05179"),
    "global-mmlu": TaskFormat(_global_mmlu, "choice", "arXiv 2412.03304"),
    "indoculture": TaskFormat(_indoculture, "choice", "arXiv 2404.01854"),
    "copy": TaskFormat(_made, "choice", "arXiv 2506.00288"),
    "pattern": TaskFormat(_made, "choice", "arXiv 2506.00288"),
    "xquad": TaskFormat(_reading, "answer", "arXiv 1910.11856"),
    "tydiqa": TaskFormat(_reading, "answer", "arXiv 2003.05002, the gold passage task"),
    "flores": TaskFormat(_translation, "translation", "arXiv 2207.04672"),
    "ntrex": TaskFormat(_translation, "translation", "NTREX-128, sumeval 2022"),
}


def read_items_of(
    form: str, file: str | Path, *, source: str = "", target: str = ""
) -> tuple[list[Item], int]:
    """All items of a file, and how many were left out as they can't be asked in text.

    source, target: of translations, the names of the two languages as the file has them. Raises DataError that names file and
    line for what is no item of this form.
    """
    if form not in FORMATS:
        raise DataError(f"no form of task is called {form!r}; there are {', '.join(FORMATS)}")
    path, skipped = Path(file), 0
    if not path.exists():
        raise DataError(f"{path}: no such file; a task's file is a local one")
    items: list[Item] = []
    for place, record in _records(form, path, source, target):
        try:
            item = FORMATS[form].read(record, str(len(items) + skipped))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, SyntaxError) as error:
            raise DataError(f"{path}, {place}: no item of {form} ({type(error).__name__}: {error})") from None
        if item is None:
            skipped += 1
            continue
        items.append(_checked(item, f"{path}, {place}"))
    if not items:
        raise DataError(f"{path} holds no item of {form}")
    return items, skipped


def _checked(item: Item, where: str) -> Item:
    """The item with its numbers as text.

    Raises DataError for what no form may hold: values that are no text, a right answer that is no choice, an empty reference.
    """
    if isinstance(item, ChoiceItem):
        whole = item._replace(
            passage=_text(item.passage, where),
            question=_text(item.question, where),
            choices=tuple(_text(choice, where) for choice in item.choices),
        )
        _check_choices(whole, where)
        return whole
    if isinstance(item, ReadingItem):
        answers = tuple(_text(answer, where) for answer in item.answers)
        return ReadingItem(item.id, _text(item.passage, where), _text(item.question, where), answers)
    if not _text(item.reference, where).strip():
        raise DataError(f"{where}: the reference is empty")
    return TranslationItem(item.id, _text(item.source, where), _text(item.reference, where))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise DataError(f"{where}: a value is no text: {str(value)[:80]}")
    return str(value)


def _check_choices(item: ChoiceItem, where: str) -> None:
    """Raises DataError for choices of which none, or none that is there, is right."""
    if not 0 <= item.answer < len(item.choices):
        raise DataError(f"{where}: the right answer is number {item.answer} of {len(item.choices)} choices")
    if not all(choice.strip() for choice in item.choices):
        raise DataError(f"{where}: a choice is empty")


def _records(form: str, path: Path, source: str, target: str) -> Iterator[tuple[str, Record]]:
    """(where it stands, record) of a file."""
    kind = FORMATS[form].kind
    if kind == "translation":
        yield from _pairs(path, source, target)
    elif path.suffix == ".csv":
        yield from _rows(path)
    elif path.suffix == ".jsonl":
        yield from _lines(path)
    else:
        value = _json(read_utf8(path), f"{path}")
        records = _squad(value, path) if kind == "answer" and isinstance(value, Mapping) else value
        if not isinstance(records, list):
            raise DataError(f"{path} holds a {type(records).__name__}; needed is a list of items")
        for number, record in enumerate(records, 1):
            yield f"item {number}", record


def _lines(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if line.strip():
            record = _json(line, f"{path}, line {number}")
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: a JSON {type(record).__name__}, needed one object")
            yield f"line {number}", record


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None


def _squad(value: Mapping[str, Any], path: Path) -> list[Record]:
    """The questions of a file of SQuAD 1.1's form."""
    try:
        return [
            {"context": paragraph["context"], **question}
            for article in value["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path}: not of SQuAD's form, data of paragraphs with context and qas ({told})"
        ) from None


def _pairs(path: Path, source: str, target: str) -> Iterator[tuple[str, Record]]:
    """Pairs of sentences from a folder of files (eng_Latn.devtest, newstest2019-ref.th.txt), one JSON of {language: sentences}, a
    CSV of columns, or JSON lines with sentence_<language>."""
    if path.is_dir():
        sides = [_sentences(path, language) for language in (source, target)]
    elif path.suffix == ".json":
        value = _json(read_utf8(path), str(path))
        if not isinstance(value, Mapping) or not all(isinstance(each, list) for each in value.values()):
            raise DataError(f"{path}: needed one object, of languages and lists of their sentences")
        if missing := [name for name in (source, target) if name not in value]:
            raise DataError(f"{path} has no language {missing[0]!r}; it has {', '.join(value)}")
        sides = [value[source], value[target]]
    else:
        rows = _lines(path) if path.suffix == ".jsonl" else _rows(path)
        records = [record for _, record in rows]
        sides = [[_side(record, name, path) for record in records] for name in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{path}: {len(sides[0])} sentences of {source} and {len(sides[1])} of {target}: they must be aligned"
        )
    for number, (a, b) in enumerate(zip(*sides, strict=True), 1):
        sides_of = [each.strip() if isinstance(each, str) else each for each in (a, b)]
        yield f"sentence {number}", dict(zip(("source", "reference"), sides_of, strict=True))


def _rows(path: Path) -> Iterator[tuple[str, Record]]:
    for number, row in enumerate(csv.DictReader(io.StringIO(read_utf8(path), newline="")), 2):
        yield f"line {number}", row


def _side(record: Record, language: str, path: Path) -> str:
    for name in (f"sentence_{language}", language):
        if name in record:
            return record[name]
    raise DataError(f"{path} has no column {language!r}; it has {', '.join(map(str, record))}")


def _sentences(folder: Path, language: str) -> list[str]:
    """The lines of the one file of a folder whose name holds the language between dots or dashes."""
    named = re.compile(rf"(?:^|[.\-]){re.escape(language)}(?:[.\-]|$)")
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and named.search(path.name)]
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} files of {language!r}, needed is one such as {language}.devtest"
        )
    # not splitlines, which also parts at signs that stand within a sentence
    return read_utf8(found[0]).removesuffix("\n").split("\n")
