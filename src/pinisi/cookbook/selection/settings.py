"""Holds what a selection is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pinisi.base.errors import ConfigError

LanguageCheck = Literal["answer", "lines", "none"]
EVERYWHERE = ""  # the key of the quota of each group that has none of its own


@dataclass(frozen=True)
class SelectSettings:
    """Says what chats are selected by.

    chats: a file, folder or pattern. language: of records that don't say theirs, nor their file's name. category: the column that
    groups are made by, with the language. model: whose perplexity counts; reward: a sequence-classification model; either may be
    None. familiar: little perplexity counts, not much. quotas: of a group "LANGUAGE/CATEGORY", of each group of "LANGUAGE", or of
    each ("") how many are kept; no limit where none fits. similar: two chats of a language with a cosine above this are alike, 1 or
    more: none are; None: .6 for sentence embeddings, .4 for n-grams. embed: a sentence-embedding model; None: character n-grams.
    tasks: evaluation sets "FORMAT:LANGUAGE:FILE". check: what of an answer must be in the chat's language. sequence: tokens that a
    chat may have.
    """

    chats: str
    language: str = ""
    category: str = "category"
    model: str | None = None
    reward: str | None = None
    familiar: bool = False
    quotas: Mapping[str, int] | None = None
    similar: float | None = None
    embed: str | None = None
    tasks: Sequence[str] = ()
    check: LanguageCheck = "answer"
    sequence: int = 2048

    def __post_init__(self) -> None:
        if self.sequence < 2:
            raise ConfigError(f"--sequence {self.sequence}: needed at least 2 tokens")
        if not self.likeness > 0:
            raise ConfigError(
                f"--similar {self.similar}: needed a cosine above 0, such as 0.6; 1 keeps what is alike"
            )

    @property
    def likeness(self) -> float:
        """Returns the cosine above which two chats are alike: for n-grams as `benchmarks/selection.py` found it, for sentence
        embeddings as Sailor2 has it (arXiv 2502.12982)."""
        return (0.6 if self.embed else 0.4) if self.similar is None else self.similar

    def quota(self, language: str, category: str) -> float:
        """Returns how many of a group are kept at most."""
        given = self.quotas or {}
        for key in (f"{language}/{category}", language, EVERYWHERE):
            if key in given:
                return given[key]
        return float("inf")


def quotas_of(given: Sequence[str]) -> dict[str, int]:
    """Reads "100", "th=500" or "th/math=50". Raises ConfigError."""
    found: dict[str, int] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not number.isdecimal():
            raise ConfigError(f"--quota {text}: needed a number, LANGUAGE=NUMBER or LANGUAGE/CATEGORY=NUMBER")
        found[name] = int(number)
    return found


def check_model(path: str, option: str) -> Path:
    """Returns the folder of a model. Raises ConfigError where there is none."""
    if not (Path(path) / "config.json").is_file():
        raise ConfigError(f"{option} {path} is no model's folder: it has no config.json")
    return Path(path)
