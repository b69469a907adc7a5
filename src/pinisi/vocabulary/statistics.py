"""What C1 carries, and how lp and lse come out of it without cancellation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class LogProbs(NamedTuple):
    """lp [T]: log-probability of each target, 0 at ignored tokens. lse [T]: log-sum-exp over all V. logit_sum [T]: Σ_v l_v,
    entropy [T]: of the softmax, divergence [T]: a teacher's from it, each where it was asked for."""

    lp: Tensor
    lse: Tensor
    logit_sum: Tensor | None = None
    entropy: Tensor | None = None
    divergence: Tensor | None = None


class Combined(NamedTuple):
    """lp, lse, rest = 1 - p_y, and the sum of logits where it was asked for, each [T]."""

    lp: Tensor
    lse: Tensor
    rest: Tensor
    logit_sum: Tensor | None = None


def statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def log_probs(
    combined: Combined, entropy: Tensor | None = None, divergence: Tensor | None = None
) -> LogProbs:
    """What a loss gets: copies, since U and T read `combined`, whatever the loss does to its own."""
    lp, lse, _, logit_sum = combined
    return LogProbs(
        lp.clone(), lse.clone(), None if logit_sum is None else logit_sum.clone(), entropy, divergence
    )


def combine_statistics(gathered: Tensor, valid: Tensor) -> Combined:
    """gathered [p, 3, T]: every rank's m_r, s_r (over the columns that are not y) and l_y (-inf if not its
    own); [p, 4, T] with the sum of its logits.

    The order of the sums is fixed by the ranks' numbers, so every rank gets the same bits. 1 - p_y is a
    sigmoid: -expm1(lp) and 1 - exp(lp) cancel where the model is sure.
    """
    maxima, sums, target, *logit_sums = gathered.unbind(1)
    maxima = maxima.clamp(min=torch.finfo(maxima.dtype).min)  # -inf - -inf would be NaN
    top = maxima.amax(0)
    others = top + (sums * torch.exp(maxima - top)).sum(0).log()  # -inf where y is the only column
    own = target.amax(0)
    lse = torch.logaddexp(others, own)  # own is -inf where y is ignored
    margin = torch.where(valid, own - others, torch.inf)
    return Combined(
        lp=logsigmoid(margin),
        lse=lse,
        rest=torch.sigmoid(-margin),
        logit_sum=logit_sums[0].sum(0) if logit_sums else None,
    )
