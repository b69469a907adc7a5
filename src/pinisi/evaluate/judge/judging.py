"""Asks a judge many questions, keeps what it says line by line, and goes on where it stopped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pinisi.base import digests
from pinisi.base.durations import duration
from pinisi.base.errors import DataError
from pinisi.base.json_text import parse
from pinisi.base.lock import only_one
from pinisi.evaluate.judge.pairs import choice_in
from pinisi.evaluate.prompting import Generated, GenerationSettings, OpenPrompt
from pinisi.evaluate.served.client import RequestRefused
from pinisi.evaluate.served.parallel import in_parallel

TIMES = 3  # that a judge is asked which gives no verdict: first at temperature 0, then drawn
DRAWN = 0.5  # temperature of the later ones
NEW_TOKENS = 4096  # of a judge's words, reasoning among them
EVERY = 10.0  # seconds between two lines of progress


class Question(NamedTuple):
    """Asks for one of `choices`. part: which question of an item it is."""

    id: str
    part: str
    prompt: str
    choices: tuple[str, ...]


class Judgement(NamedTuple):
    """Holds what a judge said. choice: None where it is no verdict. refused: the server's words where it took no such request."""

    choice: str | None
    said: str
    refused: str | None = None


class Judge(Protocol):
    """Answers one prompt, such as a `ServedGenerator`."""

    def answer(self, prompt: OpenPrompt, settings: GenerationSettings) -> Generated: ...


class Judging:
    """Asks a judge, up to `parallel` questions at once, and appends each judgement to a file.

    name: the judge's model, of which judgements are. What the file holds of the same judge, prompt and way of asking isn't asked
    again, unless it was no verdict.
    """

    def __init__(
        self, judge: Judge, name: str, file: Path, *, parallel: int = 8, new_tokens: int = NEW_TOKENS
    ):
        self.judge, self.name, self.file, self.parallel = judge, name, file, parallel
        self.settings = GenerationSettings(new_tokens)
        self.reused = 0

    def ask(
        self, questions: Sequence[Question], report: Callable[[str], Any] | None = None
    ) -> list[Judgement]:
        """Judgements in the order of the questions. Raises ServerError if the server fails: what was said is kept."""
        report = report or _to_stderr
        lock = self.file.with_name(f".{self.file.name}.lock")
        with only_one(self.file.parent, lock, "file of judgements (--judgements)"):
            keys = [self._key(question) for question in questions]
            found = self._kept()
            missing = [number for number, key in enumerate(keys) if key not in found]
            self.reused = len(questions) - len(missing)
            began = told = time.monotonic()
            with self.file.open("a", encoding="utf-8") as out:
                if out.tell() and not _ends_a_line(self.file):
                    out.write("\n")  # a line that a kill tore
                answers = in_parallel(self._judged, [questions[n] for n in missing], self.parallel)
                for done, (place, judgement) in enumerate(answers, 1):
                    number = missing[place]
                    found[keys[number]] = judgement
                    line = {
                        "key": keys[number],
                        "judge": self.name,
                        **questions[number]._asdict(),
                        **judgement._asdict(),
                    }
                    del line["prompt"], line["choices"]
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                    out.flush()
                    if (now := time.monotonic()) - told > EVERY:
                        left = (now - began) / done * (len(missing) - done)
                        report(f"judged {done} of {len(missing)}, ETA {duration(left)}")
                        told = now
            lock.unlink(missing_ok=True)
        return [found[key] for key in keys]

    def _judged(self, question: Question) -> Judgement:
        prompt = OpenPrompt(messages=({"role": "user", "content": question.prompt},))
        said = ""
        for attempt in range(TIMES):
            how = self.settings._replace(temperature=DRAWN if attempt else 0.0, seed=attempt)
            try:
                said = self.judge.answer(prompt, how).text
            except RequestRefused as error:
                return Judgement(None, "", str(error))
            if (choice := choice_in(said, question.choices)) is not None:
                return Judgement(choice, said)
        return Judgement(None, said)

    def _key(self, question: Question) -> str:
        asked = [self.name, self.settings.new_tokens, question.prompt, list(question.choices)]
        return digests.of_value(asked)

    def _kept(self) -> dict[str, Judgement]:
        """Verdicts of earlier runs; a torn line at the end is left out. Raises DataError for a file that is something else."""
        found: dict[str, Judgement] = {}
        if not self.file.is_file():
            return found
        lines = self.file.read_text("utf-8", "replace").split("\n")
        for number, line in enumerate(lines, 1):
            try:
                record = parse(line) if line.strip() else None
                if record is not None and record["choice"] is not None:
                    found[str(record["key"])] = Judgement(str(record["choice"]), str(record["said"]))
            except (ValueError, KeyError, TypeError):
                if number == 1:
                    raise DataError(f"{self.file} holds no judgements: give another file") from None
        return found


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as content:
        content.seek(-1, 2)
        return content.read(1) == b"\n"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
