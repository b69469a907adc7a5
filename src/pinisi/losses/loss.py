"""Says what a loss is: a small function from log-probabilities to a value and its derivatives per token.

The head gives every rank lp [T] and lse [T]; a loss answers with its value and d value / d lp [T], from which the head makes all
gradients. That derivative may depend on any lp, so a coefficient known only after lp (one per sequence, a ratio of
probabilities: see `preference` and `policy`) fits the same form, with one barrier.
"""

import inspect
from typing import Any, NamedTuple, Protocol

from torch import Tensor

TOTAL = "total"  # the parameter by which a loss gets the step's total
LOGIT_SUM, ENTROPY, DIVERGENCE = "logit_sum", "entropy", "divergence"
DERIVATIVES = ("by_log_prob", "by_logsumexp", "by_logit_sum", "by_entropy", "by_divergence")
OF_HEAD = (LOGIT_SUM, ENTROPY, DIVERGENCE)  # what the head gives by name


class LogProbs(NamedTuple):
    """Holds what a head makes known of each token's distribution.

    lp [T]: log-probability of each target, 0 at ignored tokens. lse [T]: log-sum-exp over all V. logit_sum [T]: Σ_v l_v,
    entropy [T]: of the softmax, divergence [T]: a teacher's from it, each where it was asked for.
    """

    lp: Tensor
    lse: Tensor
    logit_sum: Tensor | None = None
    entropy: Tensor | None = None
    divergence: Tensor | None = None


class LossValue(NamedTuple):
    """Holds a loss' value and its derivatives, all plain ones: by_x [T] is d value / d x of each token.

    value: this microbatch's part of the step's loss, a scalar. The derivatives take lp, lse, Σ_v l_v, entropy and divergence for
    independent. They are 0 at ignored tokens; None: 0 everywhere. Of cross-entropy by_log_prob is -weights. measured [m]: sums over
    this microbatch of what a loss whose attribute `measures` has m names tells besides; the step's, divided by its total, are
    metrics.
    """

    value: Tensor
    by_log_prob: Tensor
    by_logsumexp: Tensor | None = None
    by_logit_sum: Tensor | None = None
    by_entropy: Tensor | None = None
    by_divergence: Tensor | None = None
    measured: Tensor | None = None


class Loss(Protocol):
    """Turns lp, lse and weights, [T] each and the same on every rank, into a `LossValue`, the same on every rank.

    Keyword-only parameters without a default name what it reads besides. `logit_sum`, `entropy` and `divergence` [T] come from
    the head (see `LogProbs`); `total` is what the step's weights were divided by: the sum of weights over the whole step, or of
    `count(weights [T], **data)` over its microbatches where the loss has such a method. All others are data of the batch
    (`data_names`), one value a token [T] or a vector of the whole microbatch. A loss that wraps another names what it reads in an
    attribute `reads` instead.
    """

    def __call__(self, lp: Tensor, lse: Tensor, weights: Tensor, *more: Any, **named: Any) -> LossValue: ...


def parameters_of(loss: Loss) -> tuple[str, ...]:
    """The keyword-only parameters that have no default and aren't bound yet, or what `reads` says."""
    said = getattr(loss, "reads", None)
    if said is not None:
        return tuple(said)
    parameters = inspect.signature(loss).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty)


def data_names(loss: Loss) -> tuple[str, ...]:
    """What a loss reads from the batch by name."""
    return tuple(name for name in parameters_of(loss) if name not in (TOTAL, *OF_HEAD))


def measures_of(loss: Loss) -> tuple[str, ...]:
    """Names what a loss tells of a step besides its value."""
    return tuple(getattr(loss, "measures", ()))


def reads_total(loss: Loss) -> bool:
    return TOTAL in parameters_of(loss)


def reads_logit_sum(loss: Loss) -> bool:
    return LOGIT_SUM in parameters_of(loss)


def reads_of_distribution(loss: Loss) -> tuple[str, ...]:
    """Which of entropy and divergence."""
    return tuple(name for name in parameters_of(loss) if name in (ENTROPY, DIVERGENCE))
