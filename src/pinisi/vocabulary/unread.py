"""Stands in for the head where a step needs hidden states and no logits."""

import torch
from torch import Tensor

from pinisi.losses import LogProbs, LossValue
from pinisi.vocabulary.statistics import statistics_dtype


class UnreadPass:
    """Holds numbers for C1 that nobody reads."""

    nbytes = 0

    def __init__(self, x: Tensor):
        self.statistics = torch.zeros((1, len(x)), dtype=statistics_dtype(x.dtype), device=x.device)


class UnreadHead:
    """Computes nothing: a `Head` for forward passes of which only X is wanted, and which learn nothing."""

    def weights_changed(self) -> None:
        """It has no weights."""

    def s(
        self,
        x: Tensor,
        targets: Tensor,
        *,
        keep: bool = False,
        logit_sum: bool = False,
        teacher: Tensor | None = None,
    ) -> UnreadPass:
        assert not keep, "nothing can be learnt of a head that isn't read"
        return UnreadPass(x)

    def combine(self, head_pass: UnreadPass, gathered: Tensor) -> LogProbs:
        """Zeros, which say nothing."""
        zeros = head_pass.statistics[0]
        return LogProbs(zeros, zeros)

    def u(self, head_pass: UnreadPass, loss: LossValue) -> Tensor:
        raise AssertionError("nothing can be learnt of a head that isn't read")

    def t(self, head_pass: UnreadPass, loss: LossValue) -> Tensor | None:
        raise AssertionError("nothing can be learnt of a head that isn't read")
