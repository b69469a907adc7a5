"""Prepares a step's microbatches before its first pass, on the host: what every rank has from its data loader.

The sizes of all messages follow from it, so that nothing has to ask a device for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.devices import to_device
from pinisi.engine.extra_heads import by_head, head_targets
from pinisi.engine.loss_inputs import flat_data, target_weights
from pinisi.engine.parts import Parts
from pinisi.losses import CheckedLoss
from pinisi.schedule import Layout


class Want(Enum):
    """Says what a step is run for: training and evaluation want the loss."""

    LOSS = "loss"
    LOG_PROBS = "log_probs"
    HIDDEN_STATES = "hidden states"


@dataclass(frozen=True)
class StepRequest:
    """Says what a step does with its microbatches.

    weights: of each head, what a target of weight 1 weighs in the step's loss; one number alone leaves the extra heads out.
    total: for losses that read it. want: anything but the loss only without training. teacher: of each microbatch [K, h_t], for a
    loss that reads the divergence from it. seeds: of each microbatch, what its dropped numbers follow from; nothing is dropped
    but in training.
    """

    weights: Sequence[float]
    total: float = 1.0
    training: bool = True
    want: Want = Want.LOSS
    teacher: Sequence[torch.Tensor] | None = None
    seeds: Sequence[int] | None = None

    @property
    def heads(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class PreparedMicrobatch:
    """Holds a microbatch on this rank's device. T = heads·b·s tokens, of which the head sees K."""

    ids: torch.Tensor  # [b, s]
    positions_by_rank: list[torch.Tensor]  # where the tokens stand in [b·s] whose embedding rows a rank owns
    target_positions: torch.Tensor | None  # [K], where the tokens stand in [T] that the head sees; None: all
    targets: torch.Tensor  # [K]
    weights: torch.Tensor  # [K], zero where ignored, normalised by the step's sum of weights
    languages: torch.Tensor  # [K], of head k the language number + k times how many there are
    loss_data: dict[str, Any]  # what the loss reads: [K] per token, or vectors
    teacher: torch.Tensor | None  # [K, h_t], a teacher's hidden states
    context: object  # what the layers read beside their input


def positions_with_target(targets: torch.Tensor) -> torch.Tensor | None:
    """Where the tokens stand that the head sees: ignored ones (prompts, padding) never reach C0, S, T or C1. targets [T] on the
    host. None if nothing is ignored; one token at least, for collectives of nothing are an error in some backends."""
    ignored = targets == IGNORE
    if not bool(ignored.any()):
        return None
    positions = torch.nonzero(~ignored).flatten()
    return positions if len(positions) else torch.zeros(1, dtype=torch.int64)


class Preparation:
    """Prepares microbatches for one rank: what is the same for all of them is known here."""

    def __init__(self, layout: Layout, parts: Parts, loss: CheckedLoss, languages: int, device: torch.device):
        self.layout, self.parts, self.loss = layout, parts, loss
        self.languages, self.device = languages, device

    def step(self, batch: Sequence[Microbatch], request: StepRequest) -> list[PreparedMicrobatch]:
        """Raises DataError for an id or a target that no rank has a row for."""
        seeds: Sequence[int | None] = request.seeds or [None] * len(batch)
        teacher: Sequence[torch.Tensor | None] = request.teacher or [None] * len(batch)
        return [
            self._microbatch(microbatch, request, seed, hidden)
            for microbatch, seed, hidden in zip(batch, seeds, teacher, strict=True)
        ]

    def _microbatch(
        self, batch: Microbatch, request: StepRequest, seed: int | None, teacher: torch.Tensor | None
    ) -> PreparedMicrobatch:
        positions_by_rank = self._owned(batch.tokens)
        targets = head_targets(batch, request.heads).reshape(-1)
        self.parts.shards.check(targets, ignore_index=IGNORE)
        positions = positions_with_target(targets) if self.layout.barriers else None
        per_token: tuple[torch.Tensor, ...] = (
            targets,
            self._weights(batch, request.weights),
            by_head(batch.languages.reshape(-1), request.heads, self.languages),
        )
        if positions is not None:
            per_token = tuple(values[positions] for values in per_token)
        targets, weights, languages = map(self._to_device, per_token)
        context = None
        if self.parts.stages:
            context = replace(self.parts.make_context(batch.documents, batch.positions), seed=seed)
        return PreparedMicrobatch(
            ids=self._to_device(batch.tokens),
            positions_by_rank=positions_by_rank,
            target_positions=None if positions is None else self._to_device(positions),
            targets=targets,
            weights=weights,
            languages=languages,
            loss_data=self._loss_data(batch, request, positions),
            teacher=teacher,
            context=context,
        )

    def _owned(self, ids: torch.Tensor) -> list[torch.Tensor]:
        owner = self.parts.shards.owner(ids.reshape(-1))  # raises for an id that has no row
        if not self.layout.barriers:
            return []
        return [torch.nonzero(owner == r).flatten().to(self.device) for r in range(self.layout.ranks)]

    def _weights(self, batch: Microbatch, by_heads: Sequence[float]) -> torch.Tensor:
        """[T]: what each target weighs in the step's loss."""
        dtype = self.parts.statistics_dtype
        of_targets = target_weights(batch, len(by_heads), dtype)
        return (of_targets * torch.tensor(by_heads, dtype=dtype)[:, None, None]).reshape(-1)

    def _loss_data(
        self, batch: Microbatch, request: StepRequest, positions: torch.Tensor | None
    ) -> dict[str, Any]:
        """positions: on the host, as the data is."""
        data: dict[str, Any] = {}
        if request.want is Want.LOSS:
            found = flat_data(batch, self.loss.data, self.parts.statistics_dtype, positions)
            data = {name: self._to_device(tensor) for name, tensor in found.items()}
        return data | ({"total": request.total} if self.loss.reads_total else {})

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return to_device(tensor, self.device)
