"""Deals encoded pairs of answers: both of a pair in one microbatch, packed in rows, microbatches balanced by length.

A step has a fixed number of pairs. Which they are is a pure function of the seed and of how many were dealt before; each epoch has
an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.balance import assign
from pinisi.data.batches import Microbatch, PackedRow, Positions, collate
from pinisi.data.conversations.batches import add_chat
from pinisi.data.conversations.packing import packed_rows
from pinisi.data.conversations.store import ChatStore
from pinisi.data.permutation import Permutation

SEQUENCES, PAIRS, REFERENCE = "sequences", "pairs", "reference"  # names of a microbatch's loss_data


@dataclass(frozen=True)
class PairDrawing:
    """Says what a phase deals. sequence: tokens of a row; batch: pairs of a microbatch; packed: several answers a row, or one.
    data_rank, data_ranks, positions: as in `Drawing`."""

    sequence: int
    batch: int
    seed: int
    packed: bool = True
    data_rank: int = 0
    data_ranks: int = 1
    positions: Positions = "document"


class StoredPairBatches:
    """Deals microbatches of a store's pairs without end. start: the state in which an earlier phase ended.

    loss_data of a microbatch of n pairs: `sequences` [b, s] says which answer a target belongs to, 2i for the chosen one of its
    pair i and 2i + 1 for the rejected one; `pairs` [n] are their numbers in the store. Raises DataError as `restore` does for
    `start`.
    """

    def __init__(self, store: ChatStore, drawing: PairDrawing, start: dict[str, Any] | None = None) -> None:
        self.store, self.drawing = store, drawing
        self.count = len(store) // 2
        self._drawn = 0  # pairs, of all data ranks
        self._orders: dict[int, Permutation] = {}
        if start is not None:
            self.restore(start)

    @property
    def languages(self) -> tuple[str, ...]:
        return self.store.languages

    def step(self, microbatches: int) -> list[Microbatch]:
        """Returns this data rank's next microbatches; moves on for all data ranks."""
        d = self.drawing
        count = microbatches * d.data_ranks * d.batch
        numbers = [self._number(place) for place in range(self._drawn, self._drawn + count)]
        self._drawn += count
        ours = assign(self._costs(numbers), microbatches, d.batch, d.data_ranks)[d.data_rank]
        return [pair_microbatch(self.store, [numbers[n] for n in few], d) for few in ours]

    def _number(self, place: int) -> int:
        epoch, inside = divmod(place, self.count)
        if epoch not in self._orders:
            self._orders = {epoch: Permutation(self.count, self.drawing.seed, "pairs", epoch)}
        return int(self._orders[epoch].at(np.array([inside]))[0])

    def _costs(self, numbers: Sequence[int]) -> list[int]:
        """Tokens of each pair, by which microbatches are made even."""
        lengths = self.store.lengths
        return [int(lengths[2 * number] + lengths[2 * number + 1]) for number in numbers]

    def state(self) -> dict[str, Any]:
        """Returns all that `restore`, or the next phase's batches, need, as JSON; the same on every data rank."""
        return {"fingerprint": self.store.fingerprint, "seed": self.drawing.seed, "pairs": self._drawn}

    def counters(self, state: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Returns how much had been dealt where `state` was taken."""
        epochs = state["pairs"] / self.count
        return {
            "pairs": {"tokens": epochs * float(self.store.index["tokens"]), "epochs": epochs, "bytes": 0.0}
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Raises DataError if the pairs or the seed are others."""
        for key, ours in (("fingerprint", self.store.fingerprint), ("seed", self.drawing.seed)):
            if state.get(key) != ours:
                changed = {
                    "fingerprint": "other pairs (or another template, mask or rule of length)",
                    "seed": "another seed",
                }
                raise DataError(
                    f"the checkpoint was trained with {changed[key]}; resume with the same, or give another run.folder to "
                    "start anew"
                )
        self._drawn = int(state["pairs"])


def pair_microbatch(store: ChatStore, numbers: Sequence[int], drawing: PairDrawing) -> Microbatch:
    """Returns a microbatch of these pairs, in as few rows as they fit in; one row at least."""
    answers = [answer for number in numbers for answer in (2 * number, 2 * number + 1)]
    lengths = [int(store.lengths[answer]) for answer in answers]
    rows = packed_rows(lengths, drawing.sequence) if drawing.packed else [[n] for n in range(len(answers))]
    made, shape = [], (max(1, len(rows)), drawing.sequence)
    sequences, languages = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, within in enumerate(rows or [[]]):
        row = PackedRow(drawing.sequence, int(store.index["end_of_document"]))
        for n in within:
            here = slice(row.filled, row.filled + lengths[n])
            add_chat(row, *store[answers[n]])
            sequences[place, here] = n
            languages[place, here] = store.language_numbers[answers[n]]
        made.append(row)
    found = collate(made, [0] * len(made), drawing.positions)
    data = {
        SEQUENCES: torch.from_numpy(sequences),
        PAIRS: torch.tensor(list(numbers), dtype=torch.int64),
    }
    return replace(found, languages=torch.from_numpy(languages), loss_data=data)


def all_pairs(store: ChatStore, drawing: PairDrawing, first: int = 0, step: int = 1) -> Iterator[Microbatch]:
    """Yields microbatches of every `step`-th pair from `first` on, each once, in the order of the files."""
    numbers = list(range(first, len(store) // 2, step))
    for start in range(0, len(numbers), drawing.batch):
        yield pair_microbatch(store, numbers[start : start + drawing.batch], drawing)


def sums_by_answer(log_probs: torch.Tensor, microbatch: Microbatch) -> torch.Tensor:
    """Returns Σ lp of each answer on the host, float64 [2 · pairs]: lp [b, s] is 0 where a token has no target."""
    sequences = microbatch.loss_data[SEQUENCES].flatten()
    sums = torch.zeros(2 * len(microbatch.loss_data[PAIRS]), dtype=torch.float64)
    there = sequences >= 0
    return sums.index_add_(0, sequences[there], log_probs.to("cpu", torch.float64).flatten()[there])


def target_counts(microbatch: Microbatch) -> torch.Tensor:
    """Returns how many tokens of each answer are trained, int64 [2 · pairs]."""
    counted = microbatch.loss_data[SEQUENCES][microbatch.targets != IGNORE]
    return torch.bincount(counted, minlength=2 * len(microbatch.loss_data[PAIRS]))
