"""Computes what C1 carries, and lp and lse out of it without cancellation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pinisi.losses import LogProbs


class Combined(NamedTuple):
    """What U and T read of the whole vocabulary, [T] each: lp, rest = 1 - p_y, base and unit, of which p_v = exp(l_v - base)·unit,
    and the sum of logits where it was asked for. Not lse, which is rounded at its own size: where all logits are near 1e4, by 5e-4
    in fp32, and p_v = exp(l_v - lse) would be off by as much."""

    lp: Tensor
    rest: Tensor
    base: Tensor  # no less than any rank's m_r and than l_y
    unit: Tensor  # 1 / Σ_v exp(l_v - base)
    logit_sum: Tensor | None = None

    def probability(self, logit: Tensor) -> Tensor:
        return torch.exp(logit - self.base).mul_(self.unit)

    def log_probability(self, logit: Tensor) -> Tensor:
        return (logit - self.base).add_(self.unit.log())


def statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def log_probs(
    combined: Combined, lse: Tensor, entropy: Tensor | None = None, divergence: Tensor | None = None
) -> LogProbs:
    """What a loss gets: copies, since U and T read `combined`, whatever the loss does to its own."""
    logit_sum = None if combined.logit_sum is None else combined.logit_sum.clone()
    return LogProbs(combined.lp.clone(), lse, logit_sum, entropy, divergence)


def combine_statistics(gathered: Tensor, valid: Tensor) -> tuple[Combined, Tensor]:
    """gathered [p, 3, T]: every rank's m_r, s_r (over the columns that are not y) and l_y (-inf if not its
    own); [p, 4, T] with the sum of its logits. And lse [T].

    The order of the sums is fixed by the ranks' numbers, so every rank gets the same bits. 1 - p_y is a
    sigmoid: -expm1(lp) and 1 - exp(lp) cancel where the model is sure.
    """
    maxima, sums, target, *logit_sums = gathered.unbind(1)
    maxima = maxima.clamp(min=torch.finfo(maxima.dtype).min)  # -inf - -inf would be NaN
    top = maxima.amax(0)
    others = (sums * torch.exp(maxima - top)).sum(0)  # above top; 0 where y is the only column
    own = target.amax(0)  # -inf where y is ignored
    base = torch.maximum(top, own)
    total = others * torch.exp(top - base) + torch.exp(own - base)
    margin = torch.where(valid, (own - top) - others.log(), torch.inf)
    combined = Combined(
        lp=logsigmoid(margin),
        rest=torch.sigmoid(-margin),
        base=base,
        unit=total.reciprocal(),
        logit_sum=logit_sums[0].sum(0) if logit_sums else None,
    )
    return combined, base + total.log()
