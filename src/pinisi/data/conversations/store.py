"""Keeps encoded chats in a folder of a few flat files, and reads them by number without holding them in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from pinisi.base import digests, json_text
from pinisi.base.errors import DataError

INDEX = "index.json"
FORMAT = 1
TOKENS, TRAINED, BOUNDS, ORIGINS = "tokens.bin", "trained.bin", "bounds.bin", "origins.bin"
# what a number of each file is; of origins a row is file, line, language
NUMBER: np.dtype[Any] = np.dtype("<i8")
DTYPES: dict[str, np.dtype[Any]] = {
    TOKENS: np.dtype("<u4"),
    TRAINED: np.dtype("u1"),
    BOUNDS: NUMBER,
    ORIGINS: NUMBER,
}


class StoredChat(NamedTuple):
    """Holds a chat's tokens [n] and, of each, whether it is trained, bool [n]."""

    tokens: np.ndarray
    trained: np.ndarray


class StoreWriter:
    """Writes encoded chats into a folder one after the other; `close` writes its index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[str] = []
        self.languages: list[str] = []
        self.tokens = self.targets = self.chats = self.highest = 0
        self._open: dict[str, IO[bytes]] = {name: (folder / name).open("wb") for name in DTYPES}
        self._write(BOUNDS, [0])

    def add(self, tokens: list[int], trained: list[bool], file: str, line: int, language: str) -> None:
        """Adds a chat with the place that it was read from."""
        self._write(TOKENS, tokens)
        self._write(TRAINED, trained)
        self.chats += 1
        self.tokens += len(tokens)
        self.targets += sum(trained)
        self.highest = max(self.highest, *tokens)
        self._write(BOUNDS, [self.tokens])
        self._write(ORIGINS, [_number(self.files, file), line, _number(self.languages, language)])

    def _write(self, name: str, numbers: list[Any]) -> None:
        self._open[name].write(np.asarray(numbers, dtype=DTYPES[name]).tobytes())

    def close(self, facts: dict[str, Any]) -> None:
        """Ends the files, and writes the index with these facts."""
        for file in self._open.values():
            file.close()
        index = {
            "format": FORMAT,
            "chats": self.chats,
            "tokens": self.tokens,
            "targets": self.targets,
            "highest": self.highest,
            "files": self.files,
            "languages": self.languages,
            **facts,
            "digests": {name: digests.of_file(self.folder / name) for name in DTYPES},
        }
        index["digest"] = digests.of_index(index)
        (self.folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _number(names: list[str], name: str) -> int:
    if not names or names[-1] != name:
        if name in names:
            return names.index(name)
        names.append(name)
        return len(names) - 1
    return len(names) - 1


class ChatStore:
    """Reads a folder of encoded chats. Raises DataError for one that is damaged or of another kind."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.index = _read_index(self.folder / INDEX)
        self._maps: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self.index["chats"])

    def __getitem__(self, number: int) -> StoredChat:
        start, stop = (int(each) for each in self.bounds[number : number + 2])
        tokens = np.asarray(self._map(TOKENS)[start:stop], dtype=np.int64)
        return StoredChat(tokens, np.asarray(self._map(TRAINED)[start:stop], dtype=bool))

    def __iter__(self) -> Iterator[StoredChat]:
        return (self[number] for number in range(len(self)))

    @cached_property
    def bounds(self) -> np.ndarray:
        """Returns where each chat begins, and where the last one ends, int64 [chats + 1]."""
        return np.array(self._map(BOUNDS))

    @property
    def lengths(self) -> np.ndarray:
        """Returns how many tokens each chat has, int64 [chats]."""
        return np.diff(self.bounds)

    @property
    def languages(self) -> tuple[str, ...]:
        """Names the languages that `language_of` counts in."""
        return tuple(self.index["languages"])

    @cached_property
    def language_numbers(self) -> np.ndarray:
        """Returns the number of each chat's language, int64 [chats]."""
        return np.array(self._origins[:, 2])

    def origin(self, number: int) -> tuple[str, int]:
        """Returns the file and the line that a chat was read from."""
        file, line, _ = self._origins[number]
        return self.index["files"][int(file)], int(line)

    @property
    def fingerprint(self) -> str:
        """Tells these chats and masks from others: it follows from the tokens alone."""
        found = self.index["digests"]
        return digests.of_value([found[TOKENS], found[TRAINED], found[BOUNDS]])

    def damage(self, share: int = 0, shares: int = 1) -> str | None:
        """Reads a share of the files; returns what is wrong with the first that is not as it was written."""
        return digests.damage(self.folder, self.index["digests"], share, shares)

    @cached_property
    def _origins(self) -> np.ndarray:
        return self._map(ORIGINS).reshape(-1, 3)

    def _map(self, name: str) -> np.ndarray:
        if name not in self._maps:
            path = self.folder / name
            try:
                empty = path.stat().st_size == 0
                self._maps[name] = (
                    np.zeros(0, DTYPES[name]) if empty else np.memmap(path, dtype=DTYPES[name], mode="r")
                )
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{path} can't be read ({error}): delete {self.folder} and run again"
                ) from None
        return self._maps[name]


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json_text.parse(path.read_text("utf-8"))
        right = index["format"] == FORMAT and index["digest"] == digests.of_index(index)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} can't be read ({error}): delete {path.parent} and run again") from None
    if not right:
        raise DataError(f"{path} is damaged or of another version: delete {path.parent} and run again")
    return index
