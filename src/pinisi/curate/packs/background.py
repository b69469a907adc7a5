"""Holds models of languages that have no pack, by which a text is known to be foreign.

Two kinds of model stand beside the packs' columns. One of a script's languages in general (code "") is made of
many languages' text at once; it takes little room, and a new pack's own language may be among them, so packs of
languages that were not left out of it get a larger margin (evidence.py). One of a single language (its code) is
for a near relative of a pack's; it goes when a pack of that code is loaded.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.curate.packs.ngrams import UNIT, NGrams, train
from pinisi.curate.packs.stream import BOUNDARY, keys, stream_of
from pinisi.data.text.scripts import LETTER, classes, script_table

SHIPPED = Path(__file__).parent / "background"
FORMAT = "pinisi background 1"
FACTS, ARRAYS = "background.json", "background.npz"
TYPES = {"keys": np.uint32, "weights": np.int16}
LOUD = 1.0  # nats a letter by which chance has to be better; a small pack finds much of its own language unlikely


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """Languages without a pack, as one n-gram model.

    name: for people. code: its language, "" if it is several. scripts: that it is compared in; all of them are
    then compared together. languages: codes of their texts' source.
    """

    name: str
    code: str
    scripts: tuple[str, ...]
    languages: tuple[str, ...]
    ngrams: NGrams


@dataclass(frozen=True, eq=False)
class Background:
    """Models of languages without a pack. without: codes of languages that were left out of all of them."""

    models: tuple[BackgroundModel, ...]
    without: frozenset[str]
    sources: tuple[Mapping[str, Any], ...] = ()

    def save(self, folder: str | Path) -> Path:
        """Writes background.json and background.npz into `folder`; equal models give equal bytes. Raises DataError."""
        folder = Path(folder)
        arrays = _arrays(self.models)
        facts = {
            "format": FORMAT, "sha256": digests.of_bytes(arrays), "without": sorted(self.without),
            "sources": [dict(source) for source in self.sources],
            "models": [
                {
                    "name": model.name, "code": model.code, "scripts": list(model.scripts), "size": len(model.ngrams),
                    "unknown": model.ngrams.unknown, "other_run": model.ngrams.other_run,
                    "languages": list(model.languages),
                }
                for model in self.models
            ],
        }  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / ARRAYS, arrays)
            write_whole(folder / FACTS, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            raise DataError(
                f"cannot write the background {folder}: {error.strerror or error}; free some space or fix the rights"
            ) from error
        return folder

    @staticmethod
    def load(folder: str | Path = SHIPPED) -> "Background":
        """Reads what `save` wrote. Raises DataError that names the file: missing, torn, of another format."""
        folder = Path(folder)
        try:
            facts = json.loads((folder / FACTS).read_text("utf-8"))
            raw = (folder / ARRAYS).read_bytes()
            if facts["format"] != FORMAT or facts["sha256"] != digests.of_bytes(raw):
                raise ValueError(f"its format is {facts['format']!r}, or its files belong to different ones")
            models = _models(facts["models"], raw)
            return Background(models, frozenset(facts["without"]), tuple(facts["sources"]))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{folder}: no background of format {FORMAT!r} ({error}); install Pinisi anew, or make it with "
                "benchmarks/background.py"
            ) from None


def train_model(
    name: str, code: str, scripts: Sequence[str], texts: Mapping[str, str], budget: int
) -> BackgroundModel:
    """A model of {language: text}; each language counts by the length of its text."""
    ngrams = train(stream_of("\n".join(texts.values())), budget)
    return BackgroundModel(name, code, tuple(scripts), tuple(texts), ngrams)


def known_letters(model: NGrams, scripts: Iterable[str]) -> np.ndarray:
    """The letters of some scripts that a model has seen, as code points."""
    names, script = script_table()
    wanted = [names.index(name) for name in scripts if name in names]
    letters = np.flatnonzero(np.isin(script, wanted) & (classes() == LETTER))
    hashed = keys(letters.astype(np.uint64) + np.uint64(1))
    rows = np.minimum(np.searchsorted(model.keys, hashed), len(model.keys) - 1)
    return letters[model.keys[rows] == hashed]


def noise(letters: np.ndarray) -> NGrams:
    """A model of letters (code points) without order: each, and the end of a run, is as likely as another.
    Whatever it explains as well as a pack does is no language."""
    found = np.unique(keys(np.append(letters, BOUNDARY).astype(np.uint64) + np.uint64(1)))
    weight = int(np.floor((-np.log(len(found)) - LOUD) * UNIT))
    return NGrams(found, np.full(len(found), weight, np.int16), -10.0, 0.0)


def _arrays(models: Sequence[BackgroundModel]) -> bytes:
    out = io.BytesIO()
    np.savez(
        out,
        keys=np.concatenate([model.ngrams.keys for model in models]),
        weights=np.concatenate([model.ngrams.weights for model in models]),
    )
    return out.getvalue()


def _models(facts: Sequence[Mapping[str, Any]], raw: bytes) -> tuple[BackgroundModel, ...]:
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        arrays = {name: file[name] for name in TYPES}
    ends = np.cumsum([int(fact["size"]) for fact in facts])
    sound = all(
        arrays[name].dtype == kind and arrays[name].shape == (ends[-1],) for name, kind in TYPES.items()
    )
    if not sound:
        raise ValueError("its arrays have other sizes than its models")
    found = []
    for fact, end in zip(facts, ends, strict=True):
        place = slice(end - int(fact["size"]), end)
        ngrams = NGrams(
            arrays["keys"][place], arrays["weights"][place], float(fact["unknown"]), float(fact["other_run"])
        )
        found.append(
            BackgroundModel(
                fact["name"], fact["code"], tuple(fact["scripts"]), tuple(fact["languages"]), ngrams
            )
        )
    return tuple(found)
