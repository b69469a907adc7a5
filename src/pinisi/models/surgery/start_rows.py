"""Gives new tokens their first rows: the mean of their pieces, a mix of like tokens, a regression of the old rows, or chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pinisi.base.errors import ModelError

Start = Literal["mean", "similar", "regression", "random"]
STARTS: tuple[Start, ...] = ("mean", "similar", "regression", "random")
RIDGE = 1e-2  # of the mean square of a feature, per example: keeps a fit of few tokens near the mean


@dataclass(frozen=True)
class StartFacts:
    """What rows are made of.

    pieces: {new row: the old rows of what the token was before}. like: {new row: {old row: weight}}, weights that sum to 1; a
    new token without any gets the mean of its pieces. parts: (old row, rows of its two parts) of old tokens that are merged
    of others, from which a regression learns.
    """

    pieces: Mapping[int, Sequence[int]]
    like: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    parts: Sequence[tuple[int, int, int]] = ()


def start_rows(old: Tensor, facts: StartFacts, rule: Start, seed: int) -> Tensor:
    """Returns a row [n, ...] for each new token, in the order of their ids, in the dtype of the old rows.

    rule: `mean` of the pieces' rows; `similar`: the old rows of like tokens, weighted; `regression`: a linear map that gives old
    tokens' rows of the mean, the first and the last of their parts, applied to new tokens' pieces; `random`: drawn by `seed` with
    the old rows' mean and standard deviation in each column, the control that knows nothing.
    """
    if rule not in STARTS:
        raise ModelError(f"start is {rule!r}; it must be one of {', '.join(STARTS)}.")
    ids = sorted(facts.pieces)
    if rule == "random":
        return _drawn(old, len(ids), seed).to(old.dtype)
    wide = old.double().reshape(len(old), -1)
    means = rule != "regression"
    rows = (
        torch.stack([_mean(wide, facts.pieces[id]) for id in ids]) if means else _regressed(wide, facts, ids)
    )
    for place, id in enumerate(ids if rule == "similar" else ()):
        if like := facts.like.get(id):
            weights = torch.tensor(list(like.values()), dtype=torch.float64)
            rows[place] = weights @ wide[list(like)]
    return rows.reshape(len(ids), *old.shape[1:]).to(old.dtype)


def _mean(wide: Tensor, rows: Sequence[int]) -> Tensor:
    return wide[list(rows)].mean(0)


def _drawn(old: Tensor, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    old = old.float()
    noise = torch.randn(count, *old.shape[1:], generator=generator)
    return old.mean(0) + noise * old.std(0)


def _regressed(wide: Tensor, facts: StartFacts, ids: Sequence[int]) -> Tensor:
    """Ridge regression of what an old token's row has beyond the mean of its parts."""
    examples = [(row, (left, right)) for row, left, right in facts.parts]
    given = [facts.pieces[id] for id in ids]
    features = _features(wide, [parts for _, parts in examples])
    if len(features) < 2:
        return torch.stack([_mean(wide, parts) for parts in given])
    centre = features.mean(0)
    features -= centre
    means = torch.stack([_mean(wide, parts) for _, parts in examples])
    wanted = wide[[row for row, _ in examples]] - means
    offset = wanted.mean(0)
    square = features.T @ features
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    weights = torch.linalg.solve(square, features.T @ (wanted - offset))
    mine = _features(wide, given) - centre
    return torch.stack([_mean(wide, parts) for parts in given]) + mine @ weights + offset


def _features(wide: Tensor, pieces: Sequence[Sequence[int]]) -> Tensor:
    """The mean, the first and the last of each token's pieces, side by side."""
    if not pieces:
        return wide.new_zeros(0, 3 * wide.shape[1])
    first, last = (wide[[parts[place] for parts in pieces]] for place in (0, -1))
    return torch.cat([torch.stack([_mean(wide, parts) for parts in pieces]), first, last], 1)
