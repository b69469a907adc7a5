"""Makes an endless stream of tokens of a component's documents: epoch after epoch, each in an order of its own.

The order of an epoch is a permutation that is worked out place by place (permutation.py). "Which document holds token t of this
epoch" would need the lengths of all documents before it, so nobody asks that: a stream is drawn from one piece after the other, and
where it stands is three numbers, (epoch, place in the epoch's order, token in the document there). So a stream begins anywhere at
once, goes on exactly, takes the memory of one window of documents whatever their number is, and may change the length of what is
drawn at any time. All documents are shuffled with one another, not within a window or blocks of them. The price is that all data
ranks read the bounds (16 bytes) of every document that any of them draws; they read tokens of their own rows only.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from pinisi.data.batches import PackedRow
from pinisi.data.document_files import DocumentFiles, Extents
from pinisi.data.permutation import Permutation

WINDOW = 512  # documents whose places and bounds are worked out in one go


class RowPieces(NamedTuple):
    """RowPieces of documents that make a sequence, one after the other; int64 [n] each."""

    documents: np.ndarray  # their numbers in the component
    begins: np.ndarray  # each piece's first token in its file
    stops: np.ndarray  # one past the last token of its document there
    lengths: np.ndarray  # tokens of each piece

    @classmethod
    def joined(cls, parts: "list[RowPieces]") -> "RowPieces":
        return parts[0] if len(parts) == 1 else cls(*map(np.concatenate, zip(*parts, strict=True)))

    def row(self, files: DocumentFiles, padding: int) -> PackedRow:
        """Reads them into a sequence, with the token after a cut as the last target."""
        row = PackedRow(int(self.lengths.sum()), padding)
        for document, begin, stop, length in zip(*(each.tolist() for each in self), strict=True):
            row.add(files.read(document, begin, min(begin + length + 1, stop)), 0)
        return row


class Stream(Protocol):
    """A component's tokens in the order in which they are drawn."""

    files: DocumentFiles

    @property
    def epochs(self) -> float:
        """How often the component has been gone through."""
        ...

    def draw(self, count: int) -> RowPieces:
        """Takes the next `count` tokens; reads bounds, no tokens."""
        ...

    def state(self) -> Any:
        """All that `restore` needs, as JSON."""
        ...

    def restore(self, state: Any) -> None:
        """Goes on where `state` was taken."""
        ...


class _Window(NamedTuple):
    """Some neighbours in an epoch's order. at[i]: tokens of the window before its document i; [n + 1]."""

    epoch: int
    first: int  # place in the epoch
    extents: Extents
    at: np.ndarray


class PermutedStream:
    """Draws documents in the order of a permutation that follows from seed, name and epoch."""

    def __init__(self, files: DocumentFiles, seed: int, name: str) -> None:
        self.files, self._seed, self._name = files, seed, name
        self._epoch = self._place = self._token = 0
        self._window: _Window | None = None

    @property
    def epochs(self) -> float:
        return self._epoch + self._place / self.files.documents

    def draw(self, count: int) -> RowPieces:
        parts = []
        while count:
            part = self._within_window(count)
            count -= int(part.lengths.sum())
            parts.append(part)
        return RowPieces.joined(parts)

    def _within_window(self, count: int) -> RowPieces:
        """Takes up to `count` tokens of documents of the present window, and moves on."""
        window = self._present()
        here = self._place - window.first
        start = int(window.at[here]) + self._token
        stop = min(start + count, int(window.at[-1]))
        last = int(np.searchsorted(window.at, stop, side="left"))  # one past the last document that is taken
        lengths = np.diff(window.at[here + 1 : last], prepend=start, append=stop)
        _, begins, stops = (each[here:last] for each in window.extents)
        begins = begins.copy()
        begins[0] += self._token
        self._move(window, stop, last)
        return RowPieces(window.extents.documents[here:last], begins, stops, lengths)

    def _move(self, window: _Window, stop: int, last: int) -> None:
        whole = int(window.at[last]) == stop  # the last document is taken to its end
        self._place = window.first + last - (not whole)
        self._token = 0 if whole else stop - int(window.at[last - 1])
        if self._place == self.files.documents:
            self._epoch, self._place = self._epoch + 1, 0

    def _present(self) -> _Window:
        """The window in which the stream stands."""
        number = self._place // WINDOW * WINDOW
        if self._window is None or (self._window.epoch, self._window.first) != (self._epoch, number):
            places = np.arange(number, min(number + WINDOW, self.files.documents))
            order = Permutation(self.files.documents, self._seed, self._name, self._epoch)
            extents = self.files.extents(order.at(places))
            at = np.concatenate([[0], np.cumsum(extents.stops - extents.begins)])
            self._window = _Window(self._epoch, number, extents, at)
        return self._window

    def state(self) -> dict[str, int]:
        return {"epoch": self._epoch, "place": self._place, "token": self._token}

    def restore(self, state: dict[str, int]) -> None:
        self._epoch, self._place, self._token = state["epoch"], state["place"], state["token"]
