"""Holds one microbatch's tensors on a rank between its passes: what has come, what is to go, and what waits for a backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from pinisi.engine.prepared import PreparedMicrobatch
from pinisi.losses import LossValue
from pinisi.schedule.program import Message, MessageChannel


@dataclass
class Inbox:
    """Holds what has come, from another rank or from this one, until the pass takes it that needs it."""

    activations: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: its input [b, s, h]
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: of its output [b, s, h]
    embeddings: dict[int, torch.Tensor] = field(default_factory=dict)  # by rank: its rows, for stage 0
    embedding_gradient: torch.Tensor | None = None  # of this rank's rows
    dx: torch.Tensor | None = None  # [K, h], the sum over ranks, on the last stage's

    def put(self, message: Message, tensor: torch.Tensor) -> None:
        if message.channel is MessageChannel.ACTIVATION:
            self.activations[message.stage] = tensor
        elif message.channel is MessageChannel.GRADIENT:
            self.gradients[message.stage] = tensor
        elif message.channel is MessageChannel.EMBEDDING:
            self.embeddings[message.source] = tensor
        elif message.channel is MessageChannel.EMBEDDING_GRADIENT:
            self.embedding_gradient = tensor
        elif message.channel in (MessageChannel.U, MessageChannel.C2):
            self.dx = tensor


@dataclass
class Outbox:
    """Holds what waits to be sent to another rank."""

    activations: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: its input
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: of its output
    embedding: torch.Tensor | None = None  # this rank's rows, for stage 0
    embedding_gradients: dict[int, torch.Tensor] = field(default_factory=dict)  # by rank: of its rows
    dx: torch.Tensor | None = None  # [K, h], this rank's part, with 2 barriers

    def take(self, message: Message) -> torch.Tensor:
        """What a point-to-point message carries."""
        if message.channel is MessageChannel.ACTIVATION:
            return self.activations.pop(message.stage).contiguous()
        if message.channel is MessageChannel.GRADIENT:
            return self.gradients.pop(message.stage).contiguous()
        if message.channel is MessageChannel.EMBEDDING_GRADIENT:
            return self.embedding_gradients.pop(message.target)
        assert message.channel is MessageChannel.EMBEDDING and self.embedding is not None
        tensor, self.embedding = self.embedding, None
        return tensor.contiguous()


@dataclass
class InFlight:
    """Holds what a rank keeps of one microbatch from its first pass to its last."""

    given: PreparedMicrobatch
    inbox: Inbox = field(default_factory=Inbox)
    outbox: Outbox = field(default_factory=Outbox)
    inputs: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: its input, a leaf
    outputs: dict[int, torch.Tensor] = field(default_factory=dict)  # by stage: its output, with its graph
    x: torch.Tensor | None = None  # [K, h], the last stage's output
    head_pass: Any = None
    log_prob: torch.Tensor | None = None  # [K], in evaluation
    loss: LossValue | None = None  # with its derivatives per token
    head_bytes: int = 0  # that S left for T

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """values [K] put where they stand in [b, s], 0 elsewhere."""
        positions, ids = self.given.target_positions, self.given.ids
        if positions is not None:
            values = values.new_zeros(ids.numel()).index_copy_(0, positions, values)
        return values.view(ids.shape)
