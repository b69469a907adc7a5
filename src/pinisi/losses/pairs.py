"""Makes a loss of a formula over pairs of answers, of which one is preferred.

@preference_loss("hinge")
def hinge(pairs: AnswerPairs, beta: float = 0.1) -> Tensor:
    return torch.relu(1 - beta * (pairs.chosen_gain - pairs.rejected_gain))

loss = loss_named("hinge", beta=0.2)     # for `Objective`, or as [task] loss = "hinge" of the task "prefer"

A formula takes sums of log-probabilities by answer and gives a loss for each pair. Its derivative is autograd's, over these few
numbers; the head makes all gradients from it. So a preference loss needs from the head no more than lp: one barrier as well as two.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses.loss import LossValue
from pinisi.losses.registry import loss_names, register_loss

# What a step's pairs came to, beside the loss: a mean over pairs each. Log-ratios and margins are in nats.
MEASURES = (
    "margin",  # by which the chosen answer's score is above the rejected one's
    "accuracy",  # 1 where it is above
    "chosen_log_ratio",  # log-probability of the chosen answer over the reference's; alone, where there is no reference
    "rejected_log_ratio",
    "chosen_tokens",
    "rejected_tokens",
    "kl",  # log-ratio of both answers a token: of answers that the model itself has drawn, its divergence from the reference
)


class AnswerPairs(NamedTuple):
    """Holds what a formula knows of n pairs, floats [n] each: Σ log p over an answer's tokens, the reference's, and how many
    tokens there are. An answer without a token that counts has sum 0 and 0 tokens."""

    chosen: Tensor
    rejected: Tensor
    chosen_reference: Tensor
    rejected_reference: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def chosen_gain(self) -> Tensor:
        """Returns the chosen answer's log-ratio to the reference."""
        return self.chosen - self.chosen_reference

    @property
    def rejected_gain(self) -> Tensor:
        """Returns the rejected answer's log-ratio to the reference."""
        return self.rejected - self.rejected_reference

    @property
    def added_tokens(self) -> Tensor:
        """Returns by how many tokens the chosen answer is longer."""
        return self.chosen_tokens - self.rejected_tokens

    def per_token(self) -> AnswerPairs:
        """Returns the same with means over tokens instead of sums."""
        chosen, rejected = self.chosen_tokens.clamp(min=1), self.rejected_tokens.clamp(min=1)
        return self._replace(
            chosen=self.chosen / chosen,
            rejected=self.rejected / rejected,
            chosen_reference=self.chosen_reference / chosen,
            rejected_reference=self.rejected_reference / rejected,
        )


# (pairs, settings by name, all of which have defaults) -> the loss of each pair, [n]
PairFormula = Callable[..., Tensor]


@dataclass(frozen=True)
class PairLoss:
    """A formula's mean over the step's pairs, for an engine. Reads `sequences` [b, s] and `reference` [2 · pairs] of the batch.

    sequences: pair i's chosen answer is number 2i, its rejected one 2i + 1, at the places that predict their tokens; -1 for tokens
    of no answer. Tokens of weight 0 (prompts, padding) don't count, and other weights only say that a token counts. reference: the
    reference model's sum of lp over the same tokens, by answer; zeros where `needs_reference` is False. per_token: whether answers
    are scored by means over tokens. An engine counts the pairs of the loader's tensors before each step: those are checked even
    where the loss is on a GPU. Raises ConfigError for settings that the formula refuses, and if it gives no number a pair.
    """

    formula: PairFormula
    settings: dict[str, Any] = field(default_factory=dict)
    needs_reference: bool = True
    per_token: bool = False

    def __post_init__(self) -> None:
        sums = torch.tensor([-3.0, -4.0, -2.0, -5.0], dtype=torch.float64, requires_grad=True)
        tokens = torch.tensor([2.0, 3.0, 3.0, 4.0], dtype=torch.float64)
        with torch.enable_grad():
            found = self.formula(as_pairs(sums, sums.detach() + 0.1, tokens), **self.settings)
        if not isinstance(found, Tensor) or found.shape != (2,) or not found.requires_grad:
            got = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else repr(found)
            name = getattr(self.formula, "__name__", self.formula)
            raise ConfigError(
                f"the preference loss {name} gives {got} of two pairs: return one number a pair that follows from pairs.chosen and "
                "pairs.rejected"
            )

    @property
    def measures(self) -> tuple[str, ...]:
        """Names what it tells of a step: MEASURES, of which the last needs a reference."""
        return MEASURES if self.needs_reference else MEASURES[:-1]

    def count(self, weights: Tensor, *, sequences: Tensor, reference: Tensor) -> float:
        """Counts the pairs, by which the step's sum is divided."""
        pairs = _count_pairs(weights, sequences, reference)
        _check_halves(sequences, pairs)
        return float(pairs)

    def __call__(
        self, lp: Tensor, lse: Tensor, weights: Tensor, *, sequences: Tensor, reference: Tensor, total: float
    ) -> LossValue:
        # not whether halves are missing: ignored tokens don't get here, and may be all that a half has
        count = 2 * _count_pairs(weights, sequences, reference)
        numbers = torch.arange(count, device=lp.device)
        counted = (sequences.unsqueeze(1) == numbers) & (weights != 0).unsqueeze(1)  # [T, 2 · pairs]
        # Sums of masked columns, not index_add: a GPU adds in any order, and ranks must agree to the bit. In 64 bit, for what a
        # reference's sum is taken from is much larger than what is left.
        sums = torch.where(counted, lp.unsqueeze(1).to(torch.float64), 0.0).sum(0)
        tokens = counted.sum(0).to(torch.float64)
        reference = reference.to(torch.float64)
        traced = sums.requires_grad
        with torch.enable_grad():  # of a few numbers, while a head's work goes without
            leaf = sums if traced else sums.requires_grad_()
            losses = self.formula(as_pairs(leaf, reference, tokens), **self.settings)
            (slopes,) = torch.autograd.grad(losses.sum(), leaf, retain_graph=traced)
            value = losses.sum() / total
        by_log_prob = torch.where(counted, (slopes / total).to(lp.dtype), 0.0).sum(1)
        measured = self.measured(as_pairs(sums.detach(), reference, tokens)).sum(1)
        return LossValue(value if traced else value.detach(), by_log_prob, measured=measured)

    def measured(self, pairs: AnswerPairs) -> Tensor:
        """Returns `measures` of each pair, [m, n]."""
        if not self.needs_reference:
            nothing = torch.zeros_like(pairs.chosen)
            pairs = pairs._replace(chosen_reference=nothing, rejected_reference=nothing)
        scored = pairs.per_token() if self.per_token else pairs
        margin = scored.chosen_gain - scored.rejected_gain
        tokens = (pairs.chosen_tokens + pairs.rejected_tokens).clamp(min=1)
        each = (
            margin,
            (margin > 0).to(margin.dtype),
            pairs.chosen_gain,
            pairs.rejected_gain,
            pairs.chosen_tokens,
            pairs.rejected_tokens,
            (pairs.chosen_gain + pairs.rejected_gain) / tokens,
        )
        return torch.stack(each[: len(self.measures)])


def as_pairs(sums: Tensor, reference: Tensor, tokens: Tensor) -> AnswerPairs:
    """Returns pairs of vectors by answer, [2 · n] each: pair i's chosen answer has number 2i, its rejected one 2i + 1."""
    return AnswerPairs(*(half for each in (sums, reference, tokens) for half in (each[0::2], each[1::2])))


def preference_loss(
    name: str, *, reference: bool = True, per_token: bool = False
) -> Callable[[PairFormula], PairFormula]:
    """Gives a formula over pairs a name, by which `loss_named` and the task "prefer" find it. Decorates a function of AnswerPairs
    whose further parameters, its settings, have defaults. reference: whether it reads a reference model's sums; per_token: whether
    answers are scored by means over tokens, for margins and accuracies. Raises ConfigError if another has the name."""

    def add(formula: PairFormula) -> PairFormula:
        def make(**settings: Any) -> PairLoss:
            return PairLoss(formula, settings, reference, per_token)

        parameters = list(inspect.signature(formula).parameters.values())[1:]
        signature = inspect.Signature(
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        make.__signature__ = signature  # type: ignore[attr-defined]
        make.__wrapped__ = formula  # type: ignore[attr-defined]
        register_loss(name, makes=True)(make)
        _NAMES.add(name)
        return formula

    return add


_NAMES: set[str] = set()


def preference_losses() -> list[str]:
    """Returns the names of all losses over pairs, sorted."""
    return [name for name in loss_names() if name in _NAMES]


def _count_pairs(weights: Tensor, sequences: Tensor, reference: Tensor) -> int:
    """How many pairs are here. weights, sequences [T]; reference [2 · pairs]. Raises ConfigError for what can't be of them."""
    if reference.ndim != 1 or len(reference) % 2:
        raise ConfigError(
            f"reference of a preference loss must be a vector with two sums for each pair, got shape "
            f"{list(reference.shape)}; give the sums of the chosen and of the rejected sequence of every pair."
        )
    found = len(reference) // 2
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
