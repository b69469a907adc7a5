"""Makes entropy and divergence of what C1 gathers, and the factors with which a loss' derivatives enter dL/dz."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pinisi.losses import LossValue
from pinisi.vocabulary.checks import check_derivatives
from pinisi.vocabulary.distribution.columns import NO_LESS
from pinisi.vocabulary.distribution.passes import DistributionPass, Spread
from pinisi.vocabulary.statistics import Combined, combine_statistics

LN_2 = math.log(2)


def combined(pass_: DistributionPass, gathered: Tensor) -> tuple[Spread, Tensor]:
    """gathered [p, R, T], the statistics by rank: what is known of the whole vocabulary, and lse [T]."""
    student, lse = combine_statistics(gathered[:, :3], pass_.targets.valid)
    entropy = others = teacher = divergence = None
    if pass_.entropy:
        others = _entropy_of_others(gathered, student)
        others = torch.where(pass_.targets.valid, others, 0.0)
        entropy = torch.where(pass_.targets.valid, others - student.lp.exp() * student.lp, 0.0)
    if pass_.teacher is not None:
        rows = gathered[:, pass_.first_of_teacher :]
        teacher, teacher_lse = combine_statistics(rows[:, :3], pass_.targets.valid)
        apart = (teacher.probability(_finite(rows[:, 0])) * rows[:, 3]).sum(0)
        apart = apart - teacher.rest * (teacher_lse - lse)
        divergence = apart + teacher.lp.exp() * (teacher.lp - student.lp)
        divergence = torch.where(pass_.targets.valid, divergence, 0.0)
    return Spread(student, entropy, others, teacher, divergence), lse


class Factors(NamedTuple):
    """Holds what multiplies e_v, e_v (l_v - m_r) and t_v in dL/dz_v/l'(z_v), and what dL/dz_y is: [T] each, 0 at ignored
    tokens. m_r: this shard's maximum over all its columns but y's."""

    exps: Tensor
    moments: Tensor
    teacher_exps: Tensor
    target: Tensor


def factors(pass_: DistributionPass, loss: LossValue, scale: float) -> Factors:
    """Of a loss' derivatives, after `combined`."""
    spread = pass_.spread
    assert spread is not None, "combine comes before u and t"
    assert loss.by_logit_sum is None, "a derivative by the logits' sum, which only `HeadShard` makes"
    assert loss.by_entropy is None or pass_.entropy, "a derivative by an entropy that was not asked for"
    assert loss.by_divergence is None or spread.teacher is not None, (
        "a derivative by the divergence from no teacher"
    )
    given = (loss.by_log_prob, loss.by_logsumexp, loss.by_entropy, loss.by_divergence)
    check_derivatives(pass_.target_slope, *given)
    student, zero = spread.student, torch.zeros_like(spread.student.lp)
    by_lp, by_lse, by_entropy, by_divergence = (
        zero if of is None else torch.where(pass_.targets.valid, of, 0.0).to(zero.dtype) for of in given
    )
    p_y = student.lp.exp()
    softmax, target = by_lse - by_lp + by_divergence, by_lse * p_y + by_lp * student.rest
    top = pass_.statistics[0]
    if spread.entropy is not None and spread.others is not None:
        softmax = softmax - by_entropy * (student.log_probability(top).clamp_(min=NO_LESS) + spread.entropy)
        target = target - by_entropy * p_y * (student.rest * student.lp + spread.others)
    factor = student.probability(top) * scale
    theirs = zero
    if spread.teacher is not None:
        target = target + by_divergence * _difference(student, spread.teacher)
        their_top = pass_.statistics[pass_.first_of_teacher]
        theirs = -by_divergence * spread.teacher.probability(their_top) * scale
    return Factors(factor * softmax, -by_entropy * factor, theirs, target * pass_.target_slope)


def _finite(maxima: Tensor) -> Tensor:
    return maxima.clamp(min=torch.finfo(maxima.dtype).min)


def _entropy_of_others(gathered: Tensor, student: Combined) -> Tensor:
    """Σ -p_v log p_v over v ≠ y: every rank's term is positive, so nothing cancels."""
    maxima, sums, moments = _finite(gathered[:, 0]), gathered[:, 1], gathered[:, 3]
    below = student.log_probability(maxima).clamp_(min=NO_LESS)
    return (student.probability(maxima) * (-sums * below - moments)).sum(0)


def _difference(student: Combined, teacher: Combined) -> Tensor:
    """p_y - q_y [T], of what both are exact in: two small numbers, or two that are near 1."""
    small = torch.maximum(student.lp, teacher.lp) < -LN_2
    return torch.where(small, student.lp.exp() - teacher.lp.exp(), teacher.rest - student.rest)
