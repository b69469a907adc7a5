"""Counts what a task has seen, in sums that add up in any order: for the report and the alarm."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.documents import Document
from pinisi.data.reading import Skipped, Unreadable

SAMPLES = 5  # documents shown of each language and rule
SHOWN = 300  # characters of each
BEST, REST = "best by quality", "rest by quality"
ERRORS, MORE = 100, "and more"  # errors that are told one by one; a broken file may have millions

Table = dict[str, Any]


class Counts:
    """By language: documents and characters in and kept, drops by stage and rule, mends, lengths, languages found, samples."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.languages: dict[str, Table] = defaultdict(_empty)
        self.errors: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()  # what is no text by its nature, and no error

    def taken(self, document: Document, mended: Iterable[str]) -> None:
        of = self.languages[document.language]
        of["documents"] += 1
        of["characters"] += len(document.text)
        of["mended"].update(mended)

    def found(self, language: str, identified: str) -> None:
        self.languages[language]["identified"][identified] += 1

    def dropped(self, document: Document, stage: str, rule: str, value: Any) -> None:
        of = self.languages[document.language]
        of["drops"][f"{stage}/{rule}"] += 1
        of["dropped_characters"][f"{stage}/{rule}"] += len(document.text)
        self._sample(of, f"{stage}/{rule}", document, value)

    def removed(self, document: Document, what: str, characters: int, sample: str) -> None:
        """Characters taken out of a document that stays."""
        of = self.languages[document.language]
        of["removed"][what] += characters
        of["touched"][what] += 1
        self._sample(of, what, document, characters, sample)

    def personal(self, document: Document, kind: str, number: int) -> None:
        """Personal data that were found in a document. There are no samples of it: they would show the data."""
        of = self.languages[document.language]
        of["personal"][kind] += number
        of["personal_documents"][kind] += 1

    def flagged(self, document: Document, flagged: int, words: int) -> None:
        """Flagged words of a document, of a language that has some."""
        of = self.languages[document.language]["flagged"]
        of["documents"] += 1
        of["touched"] += flagged > 0
        of["flagged words"] += flagged
        of["words"] += words

    def kept(self, document: Document) -> None:
        of = self.languages[document.language]
        of["kept"] += 1
        of["kept_characters"] += len(document.text)
        of["lengths"][str(int(math.log2(max(1, len(document.text)))))] += 1
        self._sample(of, "kept", document, None)

    def graded(self, document: Document, top: bool, score: float) -> None:
        """One of those that stay, by its quality."""
        key = BEST if top else REST
        of = self.languages[document.language]
        of["graded"][key] += 1
        self._sample(of, key, document, score)

    def trouble(self, error: Unreadable, on_error: str) -> None:
        """Counts what can't be read, or (on_error "stop") raises DataError; what was not meant to be text never stops a run."""
        if isinstance(error, Skipped):
            self.no_text(error.group)
        elif on_error == "stop":
            raise DataError(f"{error}; run.on_error = 'skip' goes on with the rest")
        else:
            self.unreadable(str(error))

    def unreadable(self, error: str, times: int = 1) -> None:
        _count(self.errors, error, times)

    def no_text(self, what: str, times: int = 1) -> None:
        """What is no text by its nature, such as pictures in an archive: a run that stops at errors does not stop for it."""
        _count(self.skipped, what, times)

    def _sample(self, of: Table, key: str, document: Document, value: Any, text: str | None = None) -> None:
        rank = hashlib.blake2b(
            f"{self._seed} {key} {document.id}".encode("utf-8", "replace"), digest_size=8
        ).hexdigest()
        shown = (document.text if text is None else text)[:SHOWN]
        value = round(value, 4) if isinstance(value, float) else value
        samples = of["samples"].setdefault(key, [])
        samples.append([rank, *map(_whole, (document.id, document.url)), value, _whole(shown)])
        if len(samples) > 2 * SAMPLES:
            of["samples"][key] = sorted(samples)[:SAMPLES]

    def add(self, other: Mapping[str, Any]) -> None:
        """Add a table that `table` has made."""
        for error, times in other["errors"].items():
            self.unreadable(error, times)
        for what, times in other.get("skipped", {}).items():
            self.no_text(what, times)
        for language, theirs in other["languages"].items():
            ours = self.languages[language]
            for key, value in theirs.items():
                if key == "samples":
                    for rule, samples in value.items():
                        ours[key][rule] = sorted([*ours[key].get(rule, []), *map(list, samples)])[:SAMPLES]
                elif isinstance(value, dict):
                    ours[key].update(value)
                else:
                    ours[key] += value

    def table(self) -> Table:
        """Plain values in a fixed order, whatever the order in which things were counted."""
        for of in self.languages.values():
            of["samples"] = {key: sorted(of["samples"][key])[:SAMPLES] for key in sorted(of["samples"])}
        return json.loads(
            json.dumps(
                {"languages": self.languages, "errors": self.errors, "skipped": self.skipped},
                sort_keys=True,
                ensure_ascii=False,
            )
        )


def _count(counter: Counter[str], said: str, times: int) -> None:
    said = _whole(said)
    counter[said if said in counter or len(counter) < ERRORS else MORE] += times


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which no file of UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _empty() -> Table:
    counters = (
        "drops",
        "dropped_characters",
        "removed",
        "touched",
        "mended",
        "lengths",
        "identified",
        "graded",
        "personal",
        "personal_documents",
        "flagged",
    )
    numbers = ("documents", "characters", "kept", "kept_characters")
    return {**{key: 0 for key in numbers}, **{key: Counter() for key in counters}, "samples": {}}
