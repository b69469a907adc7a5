"""Calls a loss with the values that it asks for, and checks what it returns."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses.loss import (
    DERIVATIVES,
    OF_HEAD,
    TOTAL,
    LogProbs,
    Loss,
    LossValue,
    data_names,
    measures_of,
    parameters_of,
)

# Derivatives that need a number which a head makes only for a loss that says that it reads it.
_NEEDS = {"by_logit_sum": "logit_sum", "by_entropy": "entropy", "by_divergence": "divergence"}


class CheckedLoss:
    """Calls a loss with what it reads, and refuses an answer that no head could use.

    What a loss reads is found out once, here: of_head (of logit_sum, entropy and divergence), data (of the batch, by name) and
    whether it reads the step's total; measures: what it tells of a step besides, by name.
    """

    def __init__(self, loss: Loss):
        names = parameters_of(loss)
        self.loss = loss
        self.of_head = tuple(name for name in names if name in OF_HEAD)
        self.data = data_names(loss)
        self.reads_total = TOTAL in names
        self.measures = measures_of(loss)

    def __call__(self, seen: LogProbs, weights: Tensor, data: Mapping[str, Any]) -> LossValue:
        """The loss and its derivatives. Raises ConfigError for one that isn't a number a token, and for a derivative by what the
        loss doesn't read: the head hasn't made what it would multiply."""
        of_head = {name: getattr(seen, name) for name in self.of_head}
        value = self.loss(seen.lp, seen.lse, weights, **data, **of_head)
        for name in DERIVATIVES:
            derivative = getattr(value, name)
            if derivative is None:
                continue
            if derivative.shape != seen.lp.shape:
                raise ConfigError(
                    f"the loss {self.loss} gives a derivative {name} of shape {list(derivative.shape)}, needed "
                    f"{list(seen.lp.shape)}: a number a token"
                )
            if name in _NEEDS and _NEEDS[name] not in self.of_head:
                raise ConfigError(
                    f"the loss {self.loss} gives a derivative {name} but doesn't say that it reads {_NEEDS[name]}: give it a "
                    f"keyword-only parameter of that name, see `Loss`"
                )
        return value
