"""Computes losses of pairs of sequences, of which one is preferred: a coefficient per token that is known only after lp.

They need from the head no more than lp: with one barrier as with two. What they take besides is data that every rank has from
its data loader: of the batch (`Microbatch.loss_data`), or bound by functools.partial.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pinisi.base.errors import ConfigError
from pinisi.losses.loss import LossValue
from pinisi.losses.registry import register_loss


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
    ranks. pairs: how many are here; as many as `reference` has, if None. An engine takes `PreferenceLoss`. Raises ConfigError
    for a sequence without a token and numbers out of range where tensors are on the CPU, for wrong shapes anywhere.
    """
    _check_beta(beta)
    _check_total(total_pairs)
    pairs = _count_pairs(weights, sequences, reference, pairs)
    _check_halves(sequences, pairs)
    return _dpo(lp, weights, sequences, reference, total_pairs, pairs, beta)


def _dpo(
    lp: Tensor,
    weights: Tensor,
    sequences: Tensor,
    reference: Tensor,
    total_pairs: float,
    pairs: int,
    beta: float,
) -> LossValue:
    numbers = torch.arange(2 * pairs, device=lp.device)
    counted = (sequences.unsqueeze(1) == numbers) & (weights != 0).unsqueeze(1)  # [T, 2 · pairs]
    # Sums of masked columns, not index_add: a GPU adds in any order, and ranks must agree to the bit.
    gain = torch.where(counted, lp.unsqueeze(1), 0.0).sum(0) - reference.to(lp.dtype)
    margin = beta * (gain[0::2] - gain[1::2])
    slope = torch.sigmoid(-margin) * (beta / total_pairs)  # -d value / d margin · beta, by pair
    by_sequence = torch.stack((-slope, slope), 1).flatten()
    by_log_prob = torch.where(counted, by_sequence, 0.0).sum(1)
    return LossValue(softplus(-margin).sum() / total_pairs, by_log_prob)


@register_loss("dpo")
@dataclass(frozen=True)
class PreferenceLoss:
    """`dpo` for an engine: a mean over the step's pairs. Reads `sequences` [b, s] and `reference` [2 · pairs] from the batch.

    An engine counts the pairs of the loader's tensors before each step: those are checked even where the loss is on a GPU.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        _check_beta(self.beta)

    def count(self, weights: Tensor, *, sequences: Tensor, reference: Tensor) -> float:
        pairs = _count_pairs(weights, sequences, reference)
        _check_halves(sequences, pairs)
        return float(pairs)

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, sequences: Tensor, reference: Tensor, total: float
    ) -> LossValue:
        # not whether halves are missing: ignored tokens don't get here, and may be all that a half has
        pairs = _count_pairs(weights, sequences, reference)
        return _dpo(lp, weights, sequences, reference, total, pairs, self.beta)


def _check_beta(beta: float) -> None:
    if not 0 < beta < math.inf:
        raise ConfigError(
            f"beta of a preference loss must be a finite number above 0, got {beta}; give 0.1, for example."
        )


def _check_total(total_pairs: float) -> None:
    if not 0 < total_pairs < math.inf:
        raise ConfigError(
            f"total_pairs of dpo must be a finite number above 0, got {total_pairs}; give the number of pairs of the step."
        )


def _count_pairs(weights: Tensor, sequences: Tensor, reference: Tensor, pairs: int | None = None) -> int:
    """How many pairs are here. weights, sequences [T]; reference [2 · pairs]. Raises ConfigError for what can't be of them."""
    if reference.ndim != 1 or len(reference) % 2:
        raise ConfigError(
            f"reference of a preference loss must be a vector with two sums for each pair, got shape "
            f"{list(reference.shape)}; give the sums of the chosen and of the rejected sequence of every pair."
        )
    found = len(reference) // 2
    if pairs is not None and pairs != found:
        raise ConfigError(
            f"pairs of dpo is {pairs}, but reference has the sums of {found}; give two sums for each pair, or no pairs."
        )
    if sequences.shape != weights.shape:
        raise ConfigError(
            f"sequences of a preference loss has shape {list(sequences.shape)}; give one number for each token: "
            f"{list(weights.shape)}."
        )
    if sequences.is_cpu and weights.is_cpu:  # the host would have to wait for a GPU in every step
        counted = sequences[weights != 0]
        strange = counted[~((counted >= -1) & (counted < 2 * found))]
        if len(strange):
            raise ConfigError(
                f"sequences of a preference loss holds {strange[0].item()}, but reference has {2 * found} sums; give numbers "
                f"from 0 to below {2 * found}, and -1 to tokens of no sequence."
            )
    return found


def _check_halves(sequences: Tensor, pairs: int) -> None:
    """Raises ConfigError if a pair's sequence has no token at all."""
    if not sequences.is_cpu:  # as above
        return
    numbers = torch.arange(2 * pairs)
    missing = numbers[~torch.isin(numbers, sequences)].tolist()
    if missing:
        raise ConfigError(
            f"sequences of a preference loss has no token of number {missing[0]}, the "
            f"{('chosen', 'rejected')[missing[0] % 2]} sequence of pair {missing[0] // 2}; give tokens to both halves of each "
            "pair, or leave the pair's sums out of reference."
        )
