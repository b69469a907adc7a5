"""Finds rows of the embedding that have hardly been trained, by their norms (Land and Bartolo 2024, arXiv 2405.05417)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from pinisi.models.spec import ModelSpec, vocabulary_names
from pinisi.models.weights import FolderWeights

DEVIATIONS = (
    6.0  # below the median log norm, in deviations of a normal distribution with the same quartiles' width
)
OF_MAD = 1.4826  # standard deviations / median absolute deviation of a normal distribution
LOW_SHARE = (
    0.05  # rows without a token tell something if they are lower than all but this share of the others
)


@dataclass(frozen=True)
class RowNorms:
    """norms [V]: of the embedding's rows. limit: the largest norm of an untrained row. reference: how many rows without a token
    say so; 0: the limit is where rows lie far below all others. untrained: the tokens with such rows, by id."""

    norms: Tensor
    limit: float
    reference: int
    untrained: list[int]


def row_norms(spec: ModelSpec, weights: FolderWeights, tokens: Collection[int]) -> RowNorms:
    """Looks at the embedding's rows. tokens: the ids that the tokenizer has; rows of other ids never learn."""
    norms = weights.get(vocabulary_names(spec).embedding).float().norm(dim=1)
    ids = torch.tensor(sorted(id for id in tokens if id < len(norms)), dtype=torch.long)
    without = torch.ones(len(norms), dtype=torch.bool)
    without[ids] = False
    known = norms[ids]
    logs = known.clamp_min(torch.finfo(torch.float32).tiny).log()
    middle = logs.median()
    limit = (middle - DEVIATIONS * OF_MAD * (logs - middle).abs().median()).exp().item()
    reference = 0
    if without.any() and (norms[without].median() <= known.quantile(LOW_SHARE) if len(known) else False):
        reference = int(without.sum())
        limit = max(limit, norms[without].max().item())
    return RowNorms(norms, limit, reference, ids[known <= limit].tolist())
