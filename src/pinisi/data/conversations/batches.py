"""Deals encoded chats in packed rows: a pure function of the seed and of what was dealt before.

Each source is an endless stream of rows. An epoch's chats are permuted, and each WINDOW of them is packed by itself, so that every
chat comes once an epoch and a place in the stream is three small numbers: epoch, window, row. A row's source is drawn from the
mixture, as `Sampler` draws a component.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.balance import assign
from pinisi.data.batches import Microbatch, PackedRow, Positions, collate
from pinisi.data.conversations.packing import packed_rows
from pinisi.data.conversations.store import ChatStore
from pinisi.data.permutation import Permutation
from pinisi.data.random_numbers import uniform

WINDOW = 1024  # chats that are packed together: rows of short chats are full to some 99 %


@dataclass(frozen=True)
class ChatDrawing:
    """Says what a phase deals.

    sequence, batch: s and b of Microbatch's [b, s]. packed: several chats a row, or one. weights: share of rows by source; by the
    tokens of each if left out. data_rank, data_ranks, balance, positions: as in `Drawing`.
    """

    sequence: int
    batch: int
    seed: int
    packed: bool = True
    weights: Mapping[str, float] | None = None
    data_rank: int = 0
    data_ranks: int = 1
    balance: bool = False
    positions: Positions = "document"


class _Rows:
    """The endless stream of one source's rows."""

    def __init__(self, name: str, store: ChatStore, drawing: ChatDrawing, place: Sequence[int] = (0, 0, 0)):
        self.store, self.drawing, self._key = store, drawing, name
        self.epoch, self.window, self.row = place
        self._rows: list[list[int]] = []
        self._packed: tuple[int, int] | None = None  # which window is in _rows

    @property
    def place(self) -> list[int]:
        return [self.epoch, self.window, self.row]

    def draw(self) -> list[int]:
        """Returns the chats of the next row."""
        rows = self._window_rows()
        found = rows[self.row]
        self.row += 1
        if self.row == len(rows):
            self.row, self.window = 0, self.window + 1
            if self.window * WINDOW >= len(self.store):
                self.window, self.epoch = 0, self.epoch + 1
        return found

    def _window_rows(self) -> list[list[int]]:
        if self._packed != (self.epoch, self.window):
            self._rows = rows_of_window(self.store, self.drawing, self._key, self.epoch, self.window)
            self._packed = (self.epoch, self.window)
        return self._rows


def rows_of_window(
    store: ChatStore, drawing: ChatDrawing, name: str, epoch: int, window: int
) -> list[list[int]]:
    """Returns which chats share the rows of one window of an epoch."""
    order = Permutation(len(store), drawing.seed, name, epoch)
    chats = order.at(np.arange(window * WINDOW, min((window + 1) * WINDOW, len(store))))
    if not drawing.packed:
        return [[int(chat)] for chat in chats]
    lengths = store.lengths[chats].tolist()
    return [[int(chats[n]) for n in row] for row in packed_rows(lengths, drawing.sequence)]


def rows_an_epoch(store: ChatStore, drawing: ChatDrawing, name: str) -> int:
    """Counts the rows of a source's first epoch."""
    windows = range(-(-len(store) // WINDOW))
    return sum(len(rows_of_window(store, drawing, name, 0, window)) for window in windows)


class ChatBatches:
    """Deals microbatches of packed chats from several sources, by name.

    start: the state in which an earlier phase ended; a source goes on where it stopped, or with its next epoch where the rows are
    of another length. Raises DataError for weights that name no source, and as `restore` does for `start`.
    """

    def __init__(
        self, stores: Mapping[str, ChatStore], drawing: ChatDrawing, start: dict[str, Any] | None = None
    ) -> None:
        self.drawing = drawing
        self._stores = dict(sorted(stores.items()))
        self.shares = weights = _weights(self._stores, drawing.weights)
        self._names, self._cumulative = list(weights), np.cumsum(list(weights.values()))
        self.languages = tuple(sorted({name for store in self._stores.values() for name in store.languages}))
        self._numbers = {
            name: np.array([self.languages.index(each) for each in store.languages])[store.language_numbers]
            for name, store in self._stores.items()
        }
        self._go_on(start)

    def step(self, microbatches: int) -> list[Microbatch]:
        """Returns this data rank's next microbatches; moves on for all data ranks."""
        d = self.drawing
        rows = [[self._draw() for _ in range(d.batch)] for _ in range(microbatches * d.data_ranks)]
        ours = self._balanced(rows, microbatches) if d.balance else rows[d.data_rank :: d.data_ranks]
        return [self._microbatch(each) for each in ours]

    def _draw(self) -> tuple[str, list[int]]:
        number = uniform(self.drawing.seed, self._drawn) * self._cumulative[-1]
        choice = min(int(np.searchsorted(self._cumulative, number, side="right")), len(self._names) - 1)
        self._drawn += 1
        name = self._names[choice]
        return name, self._streams[name].draw()

    def _balanced(
        self, rows: list[list[tuple[str, list[int]]]], count: int
    ) -> list[list[tuple[str, list[int]]]]:
        flat = [row for each in rows for row in each]
        costs = [int((self._stores[name].lengths[chats] ** 2).sum()) for name, chats in flat]
        ours = assign(costs, count, self.drawing.batch, self.drawing.data_ranks)[self.drawing.data_rank]
        return [[flat[number] for number in numbers] for numbers in ours]

    def _microbatch(self, rows: Sequence[tuple[str, list[int]]]) -> Microbatch:
        given = [(self._stores[name], self._numbers[name], chats) for name, chats in rows]
        return microbatch_of(given, self.drawing)

    def state(self) -> dict[str, Any]:
        """Returns all that `restore`, or the next phase's batches, need, as JSON; the same on every data rank."""
        places = {name: stream.place for name, stream in self._streams.items()}
        prints = {name: self._stores[name].fingerprint for name in self._streams}
        return {
            "seed": self.drawing.seed,
            "drawn": self._drawn,
            "rows": [self.drawing.sequence, self.drawing.packed],
            "places": dict(sorted((self._before | places).items())),
            "fingerprints": dict(sorted((self._prints | prints).items())),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Raises DataError if chats, seed or the rows' length are others."""
        if state.get("rows") != (ours := [self.drawing.sequence, self.drawing.packed]):
            raise DataError(
                f"the checkpoint was trained on rows of {state.get('rows')} (data.sequence, task.packing), this run has {ours}; "
                "resume with the same, give another run.folder to start anew, or begin a phase of its own with it"
            )
        self._go_on(state)

    def _go_on(self, state: dict[str, Any] | None) -> None:
        state = state or {"seed": self.drawing.seed, "drawn": 0, "places": {}, "fingerprints": {}}
        if state.get("seed") != self.drawing.seed:
            raise DataError(
                f"the checkpoint was trained with seed {state.get('seed')}, this run has {self.drawing.seed}: resume with the "
                "same, or give another run.folder to start anew"
            )
        alike = state.get("rows") == [self.drawing.sequence, self.drawing.packed]
        self._before, self._prints = dict(state["places"]), dict(state["fingerprints"])
        self._drawn = int(state["drawn"])
        self._streams = {
            name: _Rows(name, self._stores[name], self.drawing, self._place(name, alike))
            for name in self._names
        }

    def _place(self, name: str, alike: bool) -> Sequence[int]:
        place = self._before.get(name)
        if place is None:
            return (0, 0, 0)
        if not alike:  # the rows are others, so that what has been seen of this epoch can't be told
            return (place[0] + (place[1] + place[2] > 0), 0, 0)
        if self._prints.get(name) != self._stores[name].fingerprint:
            raise DataError(
                f"the checkpoint was trained on other chats than those of {name!r} now (or with another mask, template or "
                "rule of length): resume with the same, or give another run.folder to start anew"
            )
        return [int(each) for each in place]


def microbatch_of(
    rows: Sequence[tuple[ChatStore, np.ndarray, Sequence[int]]], drawing: ChatDrawing
) -> Microbatch:
    """Returns a microbatch of rows: of each its store, the language number of each of the store's chats, and the chats in it."""
    made, by_row = [], []
    for store, numbers, chats in rows:
        row = PackedRow(drawing.sequence, int(store.index["end_of_document"]))
        languages = np.zeros(drawing.sequence, dtype=np.int64)
        for chat in chats:
            add_chat(row, *store[chat])
            languages[row.filled - int(store.lengths[chat]) : row.filled] = numbers[chat]
        made.append(row)
        by_row.append(languages)
    found = collate(made, [0] * len(made), drawing.positions)
    found.languages.copy_(torch.from_numpy(np.stack(by_row)))
    return found


def add_chat(row: PackedRow, tokens: np.ndarray, trained: np.ndarray) -> None:
    """Puts a chat into a row in which it has room; only its trained tokens are targets. tokens, trained [n]."""
    start = row.filled
    assert len(tokens) <= row.room
    row.add(tokens, 0)
    targets = row.targets[start : start + len(tokens) - 1]
    targets[~trained[1:]] = IGNORE


def held_out_batches(
    store: ChatStore, language: str, drawing: ChatDrawing, most: int
) -> Iterator[Microbatch]:
    """Yields at most `most` microbatches of a language's chats, in the order of the files, packed."""
    number = store.languages.index(language)
    chats = np.flatnonzero(store.language_numbers == number)[: most * drawing.batch * WINDOW]
    lengths = store.lengths[chats].tolist()
    rows = packed_rows(lengths, drawing.sequence) if drawing.packed else [[n] for n in range(len(chats))]
    zeros = np.zeros(len(store), dtype=np.int64)
    for start in range(0, min(len(rows), most * drawing.batch), drawing.batch):
        some = [[int(chats[n]) for n in row] for row in rows[start : start + drawing.batch]]
        some += [[] for _ in range(drawing.batch - len(some))]
        yield microbatch_of([(store, zeros, each) for each in some], drawing)


def _weights(stores: Mapping[str, ChatStore], given: Mapping[str, float] | None) -> dict[str, float]:
    """Each source's share of rows; those of share 0 are left out."""
    weights = given or {name: float(store.index["tokens"]) for name, store in stores.items()}
    for name in weights:
        if name not in stores:
            raise DataError(f"the mixture names {name!r}; the sources of chats are {', '.join(stores)}")
    total = sum(weights.values())
    if not total > 0:
        raise DataError("all mixture weights are 0; give at least one source a weight above 0")
    return {name: weights[name] / total for name in sorted(weights) if weights[name] > 0}
