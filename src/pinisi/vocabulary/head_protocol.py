"""Says what the passes S and T ask of a head, so that an engine runs any of them alike."""

from typing import Any, Protocol

from torch import Tensor

from pinisi.losses import LogProbs, LossValue


class VocabularyPass(Protocol):
    """Keeps what S of one microbatch leaves for C1, U and T."""

    statistics: Tensor  # [R, T], which C1 gathers: R is the same on every rank

    @property
    def nbytes(self) -> int:
        """What it holds on to beside x and vectors [T], in bytes."""


class Head(Protocol):
    """Turns X [T, h] into a few numbers a token, and a loss' derivatives by them into dX, dW and db.

    For each microbatch: s, then (after an all-gather of the statistics) combine, then u with 1 barrier, and t, in any order
    between microbatches and as late as one likes. x must not be overwritten before t. What a head can't give is None in the
    `LogProbs` of combine: a head of one row, for a reward, may answer with its score in place of lp.
    """

    def weights_changed(self) -> None:
        """To be called between a change of weights and the next s."""

    def s(
        self,
        x: Tensor,
        targets: Tensor,
        *,
        keep: bool = True,
        logit_sum: bool = False,
        teacher: Tensor | None = None,
    ) -> VocabularyPass:
        """S: x [T, h], targets [T] (global ids or -100).

        keep=False is for evaluation: enough for combine, nothing for u and t. logit_sum: the loss reads it. teacher [T, h_t]: the
        teacher's hidden states of the same tokens. A head refuses what it has no use for.
        """

    def combine(self, head_pass: Any, gathered: Tensor) -> LogProbs:
        """After C1: gathered [p, R, T], the statistics by rank. The same bits on every rank."""

    def u(self, head_pass: Any, loss: LossValue) -> Tensor:
        """1 barrier, after combine: this rank's part of dX [T, h], in the dtype in which it is to be summed."""

    def t(self, head_pass: Any, loss: LossValue) -> Tensor | None:
        """T, after combine: adds dW and db, frees the pass; with 2 barriers returns this rank's part of dX [T, h]."""
