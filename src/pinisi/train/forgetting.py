"""Says when a language is being forgotten: held-out text and few-shot answers against the best that the run had, start included.

A unit of noise is the standard error of the difference between two evaluations. Of text, both read the same documents: what other
documents would have shown (the linearised bootstrap of a ratio), and besides by how much a language's loss wavers from one
evaluation to the next, by its second differences, which a steady rise or fall leaves out. Of items that are asked, the binomial
error of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import json_text
from pinisi.base.files import write_whole
from pinisi.config import RunConfig
from pinisi.train.metrics import TASKS, evaluations_of
from pinisi.train.standing import DOCUMENTS, Standing

FOLDER = "held-out"  # in run.folder: a file for each evaluation
FEWEST = 3  # second differences, of which noise is taken
SIGMA = 1.4826  # times the median of sizes: a standard deviation, where noise is normal


@dataclass
class _TextHistory:
    """Holds a language's losses, evaluation by evaluation, and the documents of the best one."""

    losses: list[float] = field(default_factory=list)
    step: int = -1
    nats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tokens: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, step: int, nats: np.ndarray, tokens: np.ndarray) -> None:
        loss = float(nats.sum() / tokens.sum())
        other = not np.array_equal(tokens, self.tokens)
        if other:  # another text than before: nothing can be compared with it
            self.losses.clear()
        if other or loss < min(self.losses):
            self.step, self.nats, self.tokens = step, nats, tokens
        self.losses.append(loss)


class ForgettingWatch:
    """Remembers a run's evaluations, on the rank that leads, and judges each by those before it.

    What it knows follows from the files in the run's folder."""

    def __init__(self, config: RunConfig):
        self.watch, self.run = config.watch, Path(config.run.folder)
        self.texts: dict[str, _TextHistory] = {}
        self.answers: dict[
            str, tuple[int, float, int]
        ] = {}  # by task: step, share right and items of the best

    def start(self, step: int) -> None:
        """Takes over what was found up to a step, and removes what an earlier try found that the metrics don't know."""
        self.texts, self.answers = {}, {}
        known = {at for at, _ in evaluations_of(self.run, step)}
        for path in sorted((self.run / FOLDER).glob("step-*.json")):
            at = int(path.stem.removeprefix("step-"))
            if at in known:
                self._take(at, json.loads(path.read_text("utf-8")))
            else:
                path.unlink()
        for at, found in _asked(self.run / "metrics.jsonl", step):
            self._remember(at, found)

    def evaluated(self, step: int, found: dict[str, dict[str, Any]], *, write: bool) -> dict[str, Standing]:
        """Takes the documents out of an evaluation, keeps them, and says how each language stands. write: on the rank that leads;
        others know nothing."""
        documents = {name: entry.pop(DOCUMENTS) for name, entry in found.items() if DOCUMENTS in entry}
        if not (write and documents):
            return {}
        write_whole(self.run / FOLDER / f"step-{step:08d}.json", json.dumps(documents) + "\n")
        standings = {}
        for name, each in documents.items():
            if self._watches(name) and (history := self.texts.get(name)):
                nats, tokens = _columns(each)
                if np.array_equal(tokens, history.tokens) and len(tokens) > 1:
                    standings[name] = self._judged(name, history, nats)
        self._take(step, documents)
        return standings

    def answered(self, step: int, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Standing]:
        """Says how each task stands, and remembers it."""
        standings = {}
        for name, task in found.items():
            if not self._watches(task["language"]) or name not in self.answers:
                continue
            since, before, items = self.answers[name]
            now, count = _share(task)
            noise = math.hypot(_binomial(before, items), _binomial(now, count))
            lost = before - now
            alarm = self.watch.noise > 0 and lost > self.watch.tolerance + self.watch.noise * noise
            standings[name] = Standing(task["language"], lost, noise, since, alarm)
        self._remember(step, found)
        return standings

    def _watches(self, language: str) -> bool:
        return self.watch.languages is None or language in self.watch.languages

    def _judged(self, language: str, history: _TextHistory, nats: np.ndarray) -> Standing:
        before = float(history.nats.sum())
        worse = float(nats.sum()) / before - 1
        documents = difference_error(history.nats, nats, history.tokens) / (before / history.tokens.sum())
        wavers = wavering(history.losses) / min(history.losses)
        noise = math.hypot(documents, math.sqrt(2) * wavers)
        watch = self.watch
        alarm = watch.noise > 0 and worse > watch.tolerance + watch.noise * noise
        return Standing(language, worse, noise, history.step, alarm)

    def _take(self, step: int, documents: Mapping[str, Any]) -> None:
        for name, each in documents.items():
            self.texts.setdefault(name, _TextHistory()).add(step, *_columns(each))

    def _remember(self, step: int, found: Mapping[str, Mapping[str, Any]]) -> None:
        for name, task in found.items():
            share, items = _share(task)
            if name not in self.answers or share > self.answers[name][1]:
                self.answers[name] = (step, share, items)


def difference_error(before: np.ndarray, after: np.ndarray, tokens: np.ndarray) -> float:
    """Returns the standard error of the difference of two losses, in nats a token, over documents drawn again. Each float64 [n]."""
    n, moved = len(tokens), after - before
    rest = moved - moved.sum() / tokens.sum() * tokens
    return float(math.sqrt(n / (n - 1) * (rest**2).sum()) / tokens.sum())


def wavering(losses: Sequence[float]) -> float:
    """Returns the standard deviation of one evaluation's loss about a steady course; 0 where there are too few to say."""
    second = np.abs(np.diff(np.asarray(losses), 2))
    return SIGMA * float(np.median(second)) / math.sqrt(6) if len(second) >= FEWEST else 0.0


def _columns(documents: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    nats, tokens = np.asarray(documents, np.float64).reshape(-1, 2).T
    return nats, tokens


def _share(task: Mapping[str, Any]) -> tuple[float, int]:
    return float(next(iter(task["scores"].values()))[0]), int(task["items"])


def _binomial(share: float, items: int) -> float:
    """Returns the standard error of a share of right answers; of none or all right ones it isn't 0 (Agresti and Coull 1998)."""
    p = (share * items + 2) / (items + 4)
    return math.sqrt(p * (1 - p) / (items + 4))


def _asked(path: Path, step: int) -> list[tuple[int, dict[str, Any]]]:
    """Returns the lines of tasks up to a step."""
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []:
        if f'"{TASKS}"' in line:
            try:
                record = json_text.parse(line)
                if record["step"] <= step and isinstance(record.get(TASKS), dict):
                    found.append((record["step"], record[TASKS]))
            except (ValueError, KeyError, TypeError):
                continue
    return found
