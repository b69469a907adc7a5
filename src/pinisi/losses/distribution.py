"""Losses of the whole distribution, added to any other loss: an entropy bonus, and distillation from a teacher."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses.cross_entropy import (
    Loss,
    LossValue,
    parameters_of,
    reads_logit_sum,
    weighted_cross_entropy,
)


class _Added:
    """What is asked of a loss is asked of the one that it wraps, too. `term`: what it reads besides."""

    loss: Loss
    term: str

    @property
    def reads(self) -> tuple[str, ...]:
        inner = parameters_of(self.loss)
        return inner if self.term in inner else (*inner, self.term)

    @property
    def count(self) -> Callable[..., float] | None:
        return getattr(self.loss, "count", None)

    @property
    def logit_sum(self) -> bool:
        return reads_logit_sum(self.loss)

    def _inner(
        self, lp: Tensor, lse: Tensor, weights: Tensor, term: Tensor, more: Any, data: dict
    ) -> LossValue:
        if self.term in parameters_of(self.loss):
            data = data | {self.term: term}
        return self.loss(lp, lse, weights, *more, **data)


@dataclass(frozen=True)
class WithEntropy(_Added):
    """loss - bonus·Σ w·H: an entropy bonus, as policy-gradient methods have it (Mnih et al., arXiv 1602.01783, section 4); with
    bonus < 0 a penalty. H in nats, `w` as of the loss."""

    loss: Loss = weighted_cross_entropy
    bonus: float = 0.01
    term = "entropy"

    def __post_init__(self) -> None:
        if not math.isfinite(self.bonus):
            raise ConfigError(
                f"bonus of WithEntropy must be a finite number, got {self.bonus}; give 0.01, for example, or one below 0 for a "
                "penalty."
            )

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *more: Any, entropy: Tensor, **data: Any
    ) -> LossValue:
        found = self._inner(lp, lse, weights, entropy, more, data)
        n = -self.bonus * weights.to(lp.dtype)
        value = found.value + torch.where(n != 0, n * entropy, 0.0).sum()
        return found._replace(value=value, n=n if found.n is None else found.n + n)


@dataclass(frozen=True)
class WithDistillation(_Added):
    """(1 - share)·loss + share·Σ w·KL(teacher ‖ student), over the whole vocabulary: Hinton et al., arXiv 1503.02531, section 2,
    at temperature 1."""

    loss: Loss = weighted_cross_entropy
    share: float = 0.5
    term = "divergence"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(
                f"share of WithDistillation must be from 0 to 1, got {self.share}; give 0.5, for example."
            )

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *more: Any, divergence: Tensor, **data: Any
    ) -> LossValue:
        found = self._inner(lp, lse, weights, divergence, more, data)
        left = 1 - self.share

        def rest(of: Tensor | None) -> Tensor | None:
            return None if of is None else left * of

        d = self.share * weights.to(lp.dtype)
        value = left * found.value + torch.where(d != 0, d * divergence, 0.0).sum()
        if found.d is not None:
            d = d + left * found.d
        return LossValue(value, left * found.g, rest(found.k), rest(found.e), rest(found.n), d)
