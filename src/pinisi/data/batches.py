"""Makes microbatches of packed documents, which is what the engine takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pinisi.base.ids import IGNORE
from pinisi.data.shards import TokenShards

Positions = Literal["document", "row"]


@dataclass(frozen=True)
class Microbatch:
    """b packed sequences of s tokens; every field but the last two is int64 [b, s].

    targets: the next token of the same document; -100 where there is none (a document's last token,
        padding). A document cut at a sequence's end still has its next token as the target there.
    documents: numbers the documents within the microbatch; a document that goes on in another sequence
        has another number there. Attention stays inside equal numbers of one row.
    positions: 0, 1, 2 ... in each piece of a document, so that a packed document is computed as it would be alone; where they
        are asked for by row, 0 to s - 1 in each row, running on over document bounds (as in Sailor2, arXiv 2502.12982): equal
        to alone only for rotary tables that don't follow the length.
    languages: index into TokenShards.languages.
    weights: floats [b, s], what each target weighs in the loss before a step's weights are divided by their sum; None: 1.
    loss_data: what a loss reads by name besides: tensors [b, s], one value a token, or of one dimension, of the whole
        microbatch (such as a reference model's sums by sequence).
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor
    positions: torch.Tensor
    languages: torch.Tensor
    weights: torch.Tensor | None = None
    loss_data: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def target_count(self) -> int:
        """How many tokens have a target."""
        return int((self.targets != IGNORE).sum())

    def to(self, device: torch.device | str) -> "Microbatch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Microbatch":
        """Returns the same in page-locked memory, from which a GPU copies by itself."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Microbatch":
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        changed = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(
            self, **changed, loss_data={name: change(tensor) for name, tensor in self.loss_data.items()}
        )


class PackedRow:
    """One sequence under construction: tokens, targets and documents, numpy int64 [s]."""

    def __init__(self, sequence: int, padding: int):
        self.tokens = np.full(sequence, padding, dtype=np.int64)
        self.targets = np.full(sequence, IGNORE, dtype=np.int64)
        self.pieces = np.zeros(sequence, dtype=np.int64)  # 0, 1, 2 ...: the piece of a document a token is in
        self.filled = 0
        self.count = 0

    @property
    def room(self) -> int:
        return len(self.tokens) - self.filled

    def add(self, document: np.ndarray, start: int) -> int:
        """Puts in what fits of document[start:]; returns how many tokens did."""
        size = min(self.room, len(document) - start)
        here = slice(self.filled, self.filled + size)
        following = document[start + 1 : start + size + 1]
        self.tokens[here] = document[start : start + size]
        self.targets[self.filled : self.filled + len(following)] = following
        self.pieces[here] = self.count
        self.count += 1
        self.filled += size
        self.pieces[self.filled :] = self.count  # padding attends to padding only
        return size


def collate(
    rows: Sequence[PackedRow], languages: Sequence[int], positions: Positions = "document"
) -> Microbatch:
    """rows [b] and the language of each -> a microbatch whose documents are numbered over all rows."""
    tokens = torch.from_numpy(np.stack([row.tokens for row in rows]))
    documents = np.stack([row.pieces for row in rows])
    documents[1:] += np.cumsum(documents[:-1, -1] + 1)[:, None]
    return Microbatch(
        tokens=tokens,
        targets=torch.from_numpy(np.stack([row.targets for row in rows])),
        documents=torch.from_numpy(documents),
        positions=torch.from_numpy(_positions(documents, positions)),
        languages=torch.tensor(languages, dtype=torch.int64)[:, None].expand_as(tokens).clone(),
    )


def _positions(documents: np.ndarray, positions: Positions) -> np.ndarray:
    """int64 [b, s]: of each token within its piece, or within its row. documents [b, s], never falling within a row."""
    places = np.broadcast_to(np.arange(documents.shape[1], dtype=np.int64), documents.shape)
    if positions == "row":
        return places.copy()
    starts = np.diff(documents, axis=1, prepend=documents[:, :1] - 1) != 0
    return places - np.maximum.accumulate(np.where(starts, places, 0), axis=1)


def eval_batches(
    shards: TokenShards | str | Path,
    *,
    sequence: int,
    batch: int,
    language: str,
    positions: Positions = "document",
) -> list[Microbatch]:
    """Every document of a language once, as microbatches [batch, sequence] whose padding has no target.

    A document that fits into a sequence is never cut; a longer one starts a sequence of its own.
    Bits per byte: nats over all targets / ln 2 / shards.counts(language)["predicted_bytes"].
    """
    found, _ = eval_documents(shards, sequence=sequence, batch=batch, language=language, positions=positions)
    return found


def eval_documents(
    shards: TokenShards | str | Path,
    *,
    sequence: int,
    batch: int,
    language: str,
    positions: Positions = "document",
    most: int | None = None,
) -> tuple[list[Microbatch], list[np.ndarray]]:
    """`eval_batches`, the first `most` of them, and of each microbatch which document its tokens are of: int64 [b, s], -1 for
    padding."""
    shards = shards if isinstance(shards, TokenShards) else TokenShards(shards)
    rows: list[PackedRow] = []
    owners: list[np.ndarray] = []

    def begin() -> None:
        rows.append(PackedRow(sequence, shards.end_of_document))
        owners.append(np.full(sequence, -1, np.int64))

    for number, document in enumerate(shards.files(language).each()):
        done = 0
        if not rows or rows[-1].room < len(document):
            begin()
        while True:
            start = rows[-1].filled
            done += rows[-1].add(document, done)
            owners[-1][start : rows[-1].filled] = number
            if done >= len(document):
                break
            begin()
        if most is not None and len(rows) > most * batch:
            break
    while len(rows) % batch:
        begin()
    index = shards.languages.index(language)
    starts = range(0, len(rows), batch)[: most if most is not None else len(rows)]
    return (
        [collate(rows[at : at + batch], [index] * batch, positions) for at in starts],
        [np.stack(owners[at : at + batch]) for at in starts],
    )
