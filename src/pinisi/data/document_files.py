"""Reads documents of one language out of its files, by number: however large they are, they take no memory.

Files are read at the places asked for (pread) instead of mapped: the pages of a map count as the process' memory once they were
touched, and an order that goes everywhere touches all of them.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.base.errors import DataError

TOKEN_DTYPE = np.dtype("<u4")
BOUND_DTYPE = np.dtype("<i8")
OPEN = 80  # files at once; a process has 256 handles on some systems


class TokenFile(NamedTuple):
    """Names one file of tokens (`name`.tokens) with its bounds (`name`.documents), and says how many it holds."""

    name: str
    documents: int
    tokens: int


class Extents(NamedTuple):
    """Says where documents lie: int64 [n] each."""

    documents: np.ndarray  # their numbers in the language
    begins: np.ndarray  # a document's first token in its file
    stops: np.ndarray  # one past its last


class OpenFiles:
    """Reads bytes of many files of which few are open: those that were used last."""

    def __init__(self, most: int = OPEN) -> None:
        self._most = most
        self._handles: OrderedDict[Path, int] = OrderedDict()  # the last used at the end

    def read(self, path: Path, first: int, count: int) -> bytes:
        """Returns `count` bytes from `first` on. Raises DataError if they are not there."""
        try:
            data = os.pread(self.handle(path), count, first)
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}") from error
        if len(data) != count:
            raise DataError(f"{path} ends before byte {first + count}; tokenize again, or bring back a copy")
        return data

    def handle(self, path: Path) -> int:
        """Returns the descriptor of a file that is opened if it is not. Raises OSError."""
        if path in self._handles:
            self._handles.move_to_end(path)
            return self._handles[path]
        if len(self._handles) >= self._most:
            os.close(self._handles.popitem(last=False)[1])
        self._handles[path] = os.open(path, os.O_RDONLY)
        return self._handles[path]

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __del__(self) -> None:
        self.close()


class DocumentFiles:
    """All files of one language as one row of documents, numbered over the files in their order."""

    def __init__(self, folder: Path, files: Sequence[TokenFile], opened: OpenFiles) -> None:
        self._paths = [folder / file.name for file in files]
        self._opened = opened
        self._first = np.cumsum([0, *(file.documents for file in files)])  # each file's first document
        self.documents = int(self._first[-1])
        self.tokens = sum(file.tokens for file in files)

    def extents(self, documents: np.ndarray) -> Extents:
        """Where documents [n] lie. Raises DataError if a file is damaged: no document is empty."""
        files = self._file_of(documents)
        places = (documents - self._first[files]) * BOUND_DTYPE.itemsize
        order = np.argsort(files, kind="stable")  # file by file, so that few are opened
        size = 2 * BOUND_DTYPE.itemsize
        data = b"".join(
            self._opened.read(self._path(file, "documents"), place, size)
            for file, place in zip(files[order].tolist(), places[order].tolist(), strict=True)
        )
        bounds = np.empty((len(documents), 2), np.int64)
        bounds[order] = np.frombuffer(data, BOUND_DTYPE).reshape(-1, 2)
        wrong = np.flatnonzero((bounds[:, 0] < 0) | (bounds[:, 1] <= bounds[:, 0]))
        if len(wrong):
            path = self._path(int(files[wrong[0]]), "documents")
            raise DataError(
                f"{path} is damaged: document {documents[wrong[0]]} has no tokens; tokenize again"
            )
        return Extents(documents, bounds[:, 0], bounds[:, 1])

    def lengths(self) -> np.ndarray:
        """Returns the tokens of every document, int64 [documents]; reads all bounds."""
        bounds = (np.fromfile(self._path(file, "documents"), BOUND_DTYPE) for file in range(len(self._paths)))
        return np.concatenate([np.diff(each) for each in bounds])

    def read(self, document: int, first: int, stop: int) -> np.ndarray:
        """Returns tokens `first` to `stop` of the file that holds a document, uint32 [stop - first]."""
        file = int(np.searchsorted(self._first, document, side="right")) - 1
        size = TOKEN_DTYPE.itemsize
        data = self._opened.read(self._path(file, "tokens"), first * size, (stop - first) * size)
        return np.frombuffer(data, TOKEN_DTYPE)

    def _file_of(self, documents: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._first, documents, side="right") - 1

    def _path(self, file: int, ending: str) -> Path:
        path = self._paths[file]
        return path.with_name(f"{path.name}.{ending}")
