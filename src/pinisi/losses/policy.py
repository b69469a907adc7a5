"""Computes losses of the ratio between a token's probability now and when the text was sampled, as policy gradients have them."""

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses.loss import LossValue
from pinisi.losses.registry import register_loss


@register_loss("clipped_ratio")
def clipped_ratio(
    lp: Tensor, lse: Tensor, weights: Tensor, *, old: Tensor, advantages: Tensor, clip: float = 0.2
) -> LossValue:
    """-Σ w·min(r·A, clamp(r, 1 - clip, 1 + clip)·A) with r = exp(lp - old): Schulman et al., "Proximal Policy
    Optimization", arXiv 1707.06347, equation 7.

    old [T]: lp when the text was sampled; advantages [T]: A. `weights` hold the normalisation. by_log_prob is -w·A·r where
    the ratio isn't clipped, else 0; where it isn't and overflows, the largest number.
    """
    if not 0 < clip < 1:
        raise ConfigError(
            f"clip of clipped_ratio must be a number above 0 and below 1, got {clip}; give 0.2, for example."
        )
    for name, given in (("old", old), ("advantages", advantages)):
        if given.shape != lp.shape:
            raise ConfigError(
                f"{name} of clipped_ratio has shape {list(given.shape)}; give one value for each token: {list(lp.shape)}."
            )
    most = torch.finfo(lp.dtype).max
    w, advantages = weights.to(lp.dtype), advantages.to(lp.dtype)
    ratio = torch.where(w != 0, lp - old.to(lp.dtype), 0.0).exp().clamp(max=most)  # 0 · inf would be NaN
    free, clipped = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    value = -torch.where(w != 0, w * torch.minimum(free, clipped), 0.0).sum()
    # finite: the head multiplies it by probabilities that may be 0
    by_log_prob = torch.where((w != 0) & (free <= clipped), -w * free, 0.0).clamp(-most, most)
    return LossValue(value, by_log_prob)
