"""Computes losses of the whole distribution, added to any other loss: an entropy bonus, and distillation from a teacher."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses.cross_entropy import weighted_cross_entropy
from pinisi.losses.loss import DIVERGENCE, ENTROPY, Loss, LossValue, parameters_of
from pinisi.losses.registry import register_loss


class _Wrapped:
    """Reads and counts what the loss that it wraps does, and `term` besides."""

    loss: Loss
    term: str

    @property
    def reads(self) -> tuple[str, ...]:
        inner = parameters_of(self.loss)
        return inner if self.term in inner else (*inner, self.term)

    @property
    def count(self) -> Callable[..., float] | None:
        return getattr(self.loss, "count", None)

    def _inner(
        self, lp: Tensor, lse: Tensor, weights: Tensor, term: Tensor, named: dict[str, Any]
    ) -> LossValue:
        if self.term in parameters_of(self.loss):
            named = named | {self.term: term}
        return self.loss(lp, lse, weights, **named)


@register_loss("with_entropy")
@dataclass(frozen=True)
class WithEntropy(_Wrapped):
    """loss - bonus·Σ w·H: an entropy bonus, as policy-gradient methods have it (Mnih et al., arXiv 1602.01783, section 4); with
    bonus < 0 a penalty. H in nats, `w` as of the loss."""

    loss: Loss = weighted_cross_entropy
    bonus: float = 0.01
    term = ENTROPY

    def __post_init__(self) -> None:
        if not math.isfinite(self.bonus):
            raise ConfigError(
                f"bonus of WithEntropy must be a finite number, got {self.bonus}; give 0.01, for example, or one below 0 for a "
                "penalty."
            )

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, entropy: Tensor, **named: Any
    ) -> LossValue:
        inner = self._inner(lp, lse, weights, entropy, named)
        by_entropy = -self.bonus * weights.to(lp.dtype)
        value = inner.value + torch.where(by_entropy != 0, by_entropy * entropy, 0.0).sum()
        if inner.by_entropy is not None:
            by_entropy = inner.by_entropy + by_entropy
        return inner._replace(value=value, by_entropy=by_entropy)


@register_loss("with_distillation")
@dataclass(frozen=True)
class WithDistillation(_Wrapped):
    """(1 - share)·loss + share·Σ w·KL(teacher ‖ student), over the whole vocabulary: Hinton et al., arXiv 1503.02531, section 2,
    at temperature 1."""

    loss: Loss = weighted_cross_entropy
    share: float = 0.5
    term = DIVERGENCE

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(
                f"share of WithDistillation must be from 0 to 1, got {self.share}; give 0.5, for example."
            )

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, divergence: Tensor, **named: Any
    ) -> LossValue:
        inner = self._inner(lp, lse, weights, divergence, named)
        rest = 1 - self.share
        by_divergence = self.share * weights.to(lp.dtype)
        value = rest * inner.value + torch.where(by_divergence != 0, by_divergence * divergence, 0.0).sum()
        if inner.by_divergence is not None:
            by_divergence = by_divergence + rest * inner.by_divergence
        return LossValue(
            value,
            rest * inner.by_log_prob,
            _times(rest, inner.by_logsumexp),
            _times(rest, inner.by_logit_sum),
            _times(rest, inner.by_entropy),
            by_divergence,
        )


def _times(factor: float, derivative: Tensor | None) -> Tensor | None:
    return None if derivative is None else factor * derivative
