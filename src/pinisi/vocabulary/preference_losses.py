"""Losses whose coefficient per token is known only after lp: of pairs of sequences, and of probability ratios.

Both need from the head no more than lp and g: with one barrier as with two. What they take besides lp is data that
every rank has from its data loader: of the batch (`Microbatch.loss_data`), or bound by functools.partial.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pinisi.vocabulary.losses import LossValue


def dpo(
    lp: Tensor,
    lse: Tensor,
    weights: Tensor,
    *,
    sequences: Tensor,
    reference: Tensor,
    total_pairs: float,
    pairs: int | None = None,
    beta: float = 0.1,
) -> LossValue:
    """Direct preference optimization: Rafailov et al., arXiv 2305.18290, equation 7; both halves of a pair here.

    sequences [T]: pair i's chosen sequence is number 2i, its rejected one 2i + 1; -1 for tokens of no sequence. Tokens of
    weight 0 (prompts, padding) don't count, and other weights only say that a token counts. reference [2 · pairs]: the
    reference model's sum of lp over the same tokens, by sequence. total_pairs: of the whole step, over microbatches and data
    ranks. pairs: how many are here; as many as `reference` has, if None. An engine takes `PreferenceLoss`.
    """
    pairs = len(reference) // 2 if pairs is None else pairs
    numbers = torch.arange(2 * pairs, device=lp.device)
    counted = (sequences.unsqueeze(1) == numbers) & (weights != 0).unsqueeze(1)  # [T, 2 · pairs]
    # Sums of masked columns, not index_add: a GPU adds in any order, and ranks must agree to the bit.
    gain = torch.where(counted, lp.unsqueeze(1), 0.0).sum(0) - reference.to(lp.dtype)
    margin = beta * (gain[0::2] - gain[1::2])
    slope = torch.sigmoid(-margin) * (beta / total_pairs)  # -d value / d margin · beta, by pair
    by_sequence = torch.stack((slope, -slope), 1).flatten()
    g = torch.where(counted, by_sequence, 0.0).sum(1)
    return LossValue(softplus(-margin).sum() / total_pairs, g)


@dataclass(frozen=True)
class PreferenceLoss:
    """`dpo` for an engine: a mean over the step's pairs. Reads `sequences` [b, s] and `reference` [2 · pairs] from the batch."""

    beta: float = 0.1

    def count(self, weights: Tensor, *, sequences: Tensor, reference: Tensor) -> float:
        return len(reference) / 2

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, sequences: Tensor, reference: Tensor, total: float
    ) -> LossValue:
        return dpo(
            lp, lse, weights, sequences=sequences, reference=reference, total_pairs=total, beta=self.beta
        )


def clipped_ratio(
    lp: Tensor, lse: Tensor, weights: Tensor, *, old: Tensor, advantages: Tensor, clip: float = 0.2
) -> LossValue:
    """-Σ w·min(r·A, clamp(r, 1 - clip, 1 + clip)·A) with r = exp(lp - old): Schulman et al., "Proximal Policy
    Optimization", arXiv 1707.06347, equation 7.

    old [T]: lp when the text was sampled; advantages [T]: A. `weights` hold the normalisation. g is w·A·r where the ratio
    isn't clipped, else 0.
    """
    w, advantages = weights.to(lp.dtype), advantages.to(lp.dtype)
    ratio = torch.where(w != 0, lp - old.to(lp.dtype), 0.0).exp()
    free, clipped = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    value = -torch.where(w != 0, w * torch.minimum(free, clipped), 0.0).sum()
    return LossValue(value, torch.where((w != 0) & (free <= clipped), w * free, 0.0))
