"""Prepares targets where extra heads predict tokens further on, so that a step can train several heads at once.

Head 0 is the model's own; head k predicts the token k places after the next one (`models.heads`). The last stage's D + 1
outputs stand one behind the other in one X of (D + 1)·T rows, and so do targets, weights and language numbers: S, T and
their messages see more tokens, and nothing else of heads. b sequences, s positions, T = b·s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch


def head_targets(batch: Microbatch, heads: int) -> torch.Tensor:
    """[heads, b, s]: at head k the target that stands k places further on in the same document and row, -100 where none does.

    A masked token (of a prompt) is masked for every head that would predict it.
    """
    found = torch.full((heads, *batch.targets.shape), IGNORE, dtype=batch.targets.dtype)
    s = batch.targets.shape[1]
    for k in range(min(heads, s)):
        same = batch.documents[:, : s - k] == batch.documents[:, k:]
        found[k, :, : s - k] = torch.where(same, batch.targets[:, k:], IGNORE)
    return found


def head_weights(counts: Sequence[float], extra_weight: float) -> list[float]:
    """What a target weighs, by head: the step's loss is head 0's mean, plus `extra_weight` times the mean over extra heads
    of theirs (DeepSeek-V3, arXiv 2412.19437, eq. 25; with extra_weight = D the plain sum of arXiv 2404.19737).

    counts: of each head, the step's targets over all data ranks, or the sum of their weights.
    """
    extra = len(counts) - 1
    return [(extra_weight / extra if k else 1.0) / n if n > 0 else 0.0 for k, n in enumerate(counts)]


def by_head(values: torch.Tensor, heads: int, step: int) -> torch.Tensor:
    """[T] -> [heads·T]: the values once for each head, `step` more each time."""
    return (values[None] + step * torch.arange(heads)[:, None]).reshape(-1)
