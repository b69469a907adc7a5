"""Reads documents of one language out of its files, by number: however large they are, they take no memory.

Files are read at the places asked for (pread) instead of mapped: the pages of a map count as the process' memory once they were
touched, and an order that goes everywhere touches all of them.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.base.errors import DataError

TOKEN_DTYPE = np.dtype("<u4")
BOUND_DTYPE = np.dtype("<i8")
TOGETHER = 512  # documents whose bounds are read in one go
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


class OpenDocumentFiles:
    """Reads bytes of many files of which few are open: those that were used last."""

    def __init__(self, most: int = OPEN) -> None:
        self._most = most
        self._handles: OrderedDict[str, int] = OrderedDict()  # the last used at the end

    def read(self, path: str, first: int, count: int) -> bytes:
        """Returns `count` bytes from `first` on. Raises DataError if they are not there."""
        try:
            data = os.pread(self.handle(path), count, first)
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}") from error
        if len(data) != count:
            raise DataError(f"{path} ends before byte {first + count}; tokenize again, or bring back a copy")
        return data

    def handle(self, path: str) -> int:
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
    """All files of one language as one row of documents, and of tokens, numbered over the files in their order.

    Raises DataError if a file of tokens or bounds has not the size that follows from its counts.
    """

    def __init__(self, folder: Path, files: Sequence[TokenFile], opened: OpenDocumentFiles) -> None:
        self._files = [file._replace(name=str(folder / file.name)) for file in files]
        self._opened = opened
        self._first = np.cumsum([0, *(file.documents for file in files)])  # each file's first document
        self._first_token = np.cumsum([0, *(file.tokens for file in files)])
        self.documents, self.tokens = int(self._first[-1]), int(self._first_token[-1])
        self.bytes_read = 0  # of tokens, so far
        for file in self._files:
            _check_size(_path(file, "tokens"), file.tokens * TOKEN_DTYPE.itemsize)
            _check_size(_path(file, "documents"), (file.documents + 1) * BOUND_DTYPE.itemsize)

    def extents(self, documents: np.ndarray) -> Extents:
        """Where documents [n] lie. Raises DataError if a file is damaged: no document is empty."""
        files = np.searchsorted(self._first, documents, side="right") - 1
        places = (documents - self._first[files]) * BOUND_DTYPE.itemsize
        order = np.argsort(files, kind="stable")  # file by file, so that few are opened
        size = 2 * BOUND_DTYPE.itemsize
        data = b"".join(
            self._opened.read(_path(self._files[file], "documents"), place, size)
            for file, place in zip(files[order].tolist(), places[order].tolist(), strict=True)
        )
        bounds = np.empty((len(documents), 2), np.int64)
        bounds[order] = np.frombuffer(data, BOUND_DTYPE).reshape(-1, 2)
        wrong = np.flatnonzero((bounds[:, 0] < 0) | (bounds[:, 1] <= bounds[:, 0]))
        if len(wrong):
            path = _path(self._files[files[wrong[0]]], "documents")
            raise DataError(
                f"{path} is damaged: document {documents[wrong[0]]} has no tokens; tokenize again"
            )
        return Extents(documents, bounds[:, 0], bounds[:, 1])

    def lengths(self) -> np.ndarray:
        """Returns the tokens of every document, int64 [documents]; reads all bounds."""
        return np.concatenate([np.diff(_mapped_bounds(file)) for file in self._files])

    def read(self, document: int, first: int, stop: int) -> np.ndarray:
        """Returns tokens `first` to `stop` of the file that holds a document, uint32 [stop - first]."""
        return self._tokens(int(np.searchsorted(self._first, document, side="right")) - 1, first, stop)

    def each(self) -> Iterator[np.ndarray]:
        """Reads every document's tokens, one after the other."""
        for first in range(0, self.documents, TOGETHER):
            extents = self.extents(np.arange(first, min(first + TOGETHER, self.documents)))
            for document, begin, stop in zip(*(each.tolist() for each in extents), strict=True):
                yield self.read(document, begin, stop)

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """Reads all tokens in order, up to `size` of them in one go."""
        for number, file in enumerate(self._files):
            for first in range(0, file.tokens, size):
                yield self._tokens(number, first, min(first + size, file.tokens))

    def document_at(self, position: int) -> tuple[int, int, int]:
        """Returns which document holds a token of the language, its first token there, and one past its last."""
        number = int(np.searchsorted(self._first_token, position, side="right")) - 1
        before, bounds = int(self._first_token[number]), _mapped_bounds(self._files[number])
        document = int(np.searchsorted(bounds, position - before, side="right")) - 1
        return (
            document + int(self._first[number]),
            before + int(bounds[document]),
            before + int(bounds[document + 1]),
        )

    def between(self, first: int, stop: int) -> np.ndarray:
        """Returns tokens `first` to `stop` of the language, all of them in one document, uint32 [stop - first]."""
        number = int(np.searchsorted(self._first_token, first, side="right")) - 1
        before = int(self._first_token[number])
        return self._tokens(number, first - before, stop - before)

    def name(self, document: int) -> tuple[bytes, str]:
        """Returns a document's line of names, and the file that it stands in."""
        number = int(np.searchsorted(self._first, document, side="right")) - 1
        file = self._files[number]
        _check_size(_path(file, "name_bounds"), (file.documents + 1) * BOUND_DTYPE.itemsize)
        place = (document - int(self._first[number])) * BOUND_DTYPE.itemsize
        size = 2 * BOUND_DTYPE.itemsize
        bounds = np.frombuffer(self._opened.read(_path(file, "name_bounds"), place, size), BOUND_DTYPE)
        first, stop = bounds.tolist()
        return self._opened.read(_path(file, "names"), first, stop - first), _path(file, "names")

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns all tokens [tokens] and bounds [documents + 1] of the language: mapped if it has one file, else in memory."""
        tokens = [np.memmap(_path(file, "tokens"), TOKEN_DTYPE, "r") for file in self._files]
        bounds = [_mapped_bounds(file) for file in self._files]
        if len(self._files) == 1:
            return tokens[0], bounds[0]
        shifted = [each[1:] + before for each, before in zip(bounds, self._first_token, strict=False)]
        return np.concatenate(tokens), np.concatenate([[0], *shifted])

    def _tokens(self, file: int, first: int, stop: int) -> np.ndarray:
        size = TOKEN_DTYPE.itemsize
        data = self._opened.read(_path(self._files[file], "tokens"), first * size, (stop - first) * size)
        self.bytes_read += len(data)
        return np.frombuffer(data, TOKEN_DTYPE)


def _mapped_bounds(file: TokenFile) -> np.ndarray:
    return np.asarray(np.memmap(_path(file, "documents"), BOUND_DTYPE, "r"))


def _check_size(path: str, needed: int) -> None:
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    if size != needed:
        raise DataError(f"{path} has {size} bytes, its index says {needed}; tokenize again")


def _path(file: TokenFile, ending: str) -> str:
    return f"{file.name}.{ending}"
