"""Adds up weights of several models, a block of rows at a time: averages, and differences of two models added to a third.

Averages: arXiv 2203.05482. Differences: task vectors (arXiv 2212.04089), of which a chat vector (arXiv 2310.04799) is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.spec import ModelSpec, vocabulary_names
from pinisi.models.stage import parameter_shapes
from pinisi.models.weights import FolderWeights

BLOCK = 2**22  # values of a tensor that are added up at once
NO_ROW = -1


@dataclass(frozen=True)
class MergeSource:
    """Holds the weights of one model. rows: for each row of the result's vocabulary the row of the same token here, or NO_ROW."""

    weights: FolderWeights
    rows: Sequence[int]

    def read(self, name: str, rows: range, *, vocabulary: bool) -> tuple[Tensor, Tensor | None]:
        """Returns rows of a parameter, and of a vocabulary's which of them are there (None: all); those that aren't are zero."""
        if not vocabulary:
            return self.weights.get(name, rows), None
        pieces = [self._run(name, start, count) for start, count in runs(self.rows[rows.start : rows.stop])]
        found = torch.cat([piece if piece.dim() else piece[None] for piece in pieces])
        there = torch.tensor(self.rows[rows.start : rows.stop]) != NO_ROW
        return found, None if bool(there.all()) else there

    def _run(self, name: str, start: int, count: int) -> Tensor:
        if start != NO_ROW:
            return self.weights.get(name, range(start, start + count))
        one = self.weights.get(name, range(1))
        return one.new_zeros(count, *one.shape[1:])


def runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Joins numbers that follow one another: yields (first, how many), of missing ones (NO_ROW, how many)."""
    first, count = NO_ROW, 0
    for row in rows:
        wanted = NO_ROW if first == NO_ROW else first + count
        if count and row == wanted:
            count += 1
            continue
        if count:
            yield first, count
        first, count = row, 1
    if count:
        yield first, count


class Mixture(Protocol):
    """Makes rows of the result's parameters, in the dtype that is added up in."""

    def block(self, name: str, rows: range, *, vocabulary: bool) -> Tensor: ...


@dataclass(frozen=True)
class Average:
    """Averages models by weights; a row of a token that some lack is that of the others. The first model has all rows."""

    models: Sequence[MergeSource]
    weights: Sequence[float]

    def block(self, name: str, rows: range, *, vocabulary: bool) -> Tensor:
        first, _ = self.models[0].read(name, rows, vocabulary=vocabulary)
        total, weight = self.weights[0] * first, torch.full((len(first),), self.weights[0], dtype=first.dtype)
        alone = torch.ones(len(first), dtype=torch.bool)
        for model, share in zip(self.models[1:], self.weights[1:], strict=True):
            found, there = model.read(name, rows, vocabulary=vocabulary)
            total += share * found
            weight += share if there is None else share * there
            alone &= torch.zeros_like(alone) if there is None else ~there
        mean = total / _by_row(weight, total)
        return torch.where(_by_row(alone, mean), first, mean)


@dataclass(frozen=True)
class Added:
    """Adds weight * (plus - minus) for each such three to a model, whose rows of tokens that either lacks stay as they are."""

    start: MergeSource
    differences: Sequence[tuple[float, MergeSource, MergeSource]]

    def block(self, name: str, rows: range, *, vocabulary: bool) -> Tensor:
        total, _ = self.start.read(name, rows, vocabulary=vocabulary)
        for weight, plus, minus in self.differences:
            (more, one), (less, other) = (
                each.read(name, rows, vocabulary=vocabulary) for each in (plus, minus)
            )
            changed = total + weight * (more - less)
            there = _both(one, other)
            total = changed if there is None else torch.where(_by_row(there, total), changed, total)
        return total


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _by_row(values: Tensor, like: Tensor) -> Tensor:
    """A value for each row, in a shape that goes with a tensor's."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def merged_weights(new: ModelSpec, mixture: Mixture, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yields all parameters of the result, one at a time. dtype: in which they are stored.

    Raises ModelError for a number that isn't finite in that dtype.
    """
    of_vocabulary = set(vocabulary_names(new))
    for name, shape in parameter_shapes(new).items():
        found = torch.empty(shape, dtype=dtype)
        step = max(1, BLOCK * shape[0] // max(1, shape.numel()))
        for start in range(0, shape[0], step):
            rows = range(start, min(start + step, shape[0]))
            made = mixture.block(name, rows, vocabulary=name in of_vocabulary).to(dtype)
            bad = ~made.isfinite()
            if bad.any():
                row = start + int(bad.reshape(len(made), -1).any(1).nonzero()[0])
                raise ModelError(
                    f"{name} is no finite number in {str(dtype).removeprefix('torch.')} in row {row} of the result: a source has "
                    "such a number there, or the weights are too large."
                )
            found[start : rows.stop] = made
        yield name, found


def same_rows(tokens: Mapping[str, int], rows: int, other: Mapping[str, int], other_rows: int) -> list[int]:
    """Returns for each row of a vocabulary the row of the same token in another, or NO_ROW.

    tokens, other: id by token. rows, other_rows: of the matrices, which may be more. A row that has no token in either is the same
    one in both.
    """
    by_row = {id: token for token, id in tokens.items()}
    taken = set(other.values())
    found = []
    for row in range(rows):
        alike = row if row not in taken else NO_ROW
        place = other.get(by_row[row], NO_ROW) if row in by_row else alike
        found.append(place if place < other_rows else NO_ROW)
    return found
