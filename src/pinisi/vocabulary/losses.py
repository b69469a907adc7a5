"""Losses: small functions from log-probabilities to a value and a coefficient per token.

The head gives every rank lp [T] and lse [T]; a loss answers with its value and g = -dL/dlp [T], from which
the head makes all gradients. g may depend on any lp, so a coefficient known only after lp (one per sequence,
a ratio of probabilities) fits the same form, with one barrier.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from pinisi.errors import DataError
from pinisi.vocabulary.shards import IGNORE_INDEX


class LossValue(NamedTuple):
    """value: this microbatch's part of the step's loss, a scalar. g [T] = -d value / d lp, 0 at ignored
    tokens.
    """

    value: Tensor
    g: Tensor


class Loss(Protocol):
    """lp, lse, weights: [T] each, the same on every rank, and so must be the answer. lse is None with 0 barriers, where
    autograd has the head and only lp has a gradient."""

    def __call__(self, lp: Tensor, lse: Tensor | None, weights: Tensor) -> LossValue: ...


def token_weights(targets: Tensor, weights: Tensor | None, total: float) -> Tensor:
    """weights (1 if None) / total, 0 at ignored tokens, in the shape of `targets`, fp32 (or the weights'
    fp64).

    total: the sum of the weights of every token of the whole step, over microbatches and data ranks.
    """
    if not total > 0:
        raise DataError(
            f"The weights of this step's tokens sum to {total}, so there is nothing to learn from: needed at "
            f"least one target that is not {IGNORE_INDEX}; check the masks of the data."
        )
    if weights is None:
        weights = torch.ones(targets.shape, dtype=torch.float32, device=targets.device)
    if weights.dtype != torch.float64:
        weights = weights.float()
    return torch.where(targets != IGNORE_INDEX, weights / total, 0.0)


def weighted_cross_entropy(lp: Tensor, lse: Tensor | None, weights: Tensor) -> LossValue:
    """-Σ w·lp. `weights` hold the normalisation already (see `token_weights`)."""
    g = weights.to(lp.dtype)
    return LossValue(-torch.where(g != 0, g * lp, 0.0).sum(), g)
