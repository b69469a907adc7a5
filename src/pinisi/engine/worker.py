"""Does the passes of one rank with a real model.

Shapes: ids and targets [b, s]; hidden states between stages [b, s, h]; X, U and dX at the head [K, h] of the K tokens that have
a target. Every rank has every microbatch's ids, targets and weights from its data loader, so that no message carries them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pinisi.data.batches import Microbatch
from pinisi.engine.gradients import WeightGradients
from pinisi.engine.head_work import HeadWork, StepTotals
from pinisi.engine.in_flight import InFlight
from pinisi.engine.parts import Parts
from pinisi.engine.prepared import Preparation, StepRequest
from pinisi.engine.settings import Objective
from pinisi.losses import CheckedLoss
from pinisi.schedule import Kind, Layout, Pass
from pinisi.schedule.program import P2P, Message, MessageChannel


class PipelineWorker:
    """Implements `executor.Worker`. One instance serves training and evaluation; `begin` hands it a step's batch."""

    def __init__(
        self,
        layout: Layout,
        rank: int,
        parts: Parts,
        objective: Objective,
        device: torch.device,
        later: WeightGradients | None = None,
    ):
        """later: what the linear layers of `parts` leave their weight gradients in, where the schedule has B and W."""
        self.layout, self.rank, self.parts, self.device = layout, rank, parts, device
        self.later = later or WeightGradients()
        self.languages = objective.languages
        loss = CheckedLoss(objective.loss)
        self.preparation = Preparation(layout, parts, loss, self.languages, device)
        self.head_work = HeadWork(parts, loss, self.languages, device)
        self.microbatches: list[InFlight] = []
        self.request = StepRequest([1.0])
        self._passes: dict[Kind, Callable[[int, int], None]] = {
            Kind.E: self._embed,
            Kind.F: self._forward,
            Kind.S: lambda _, i: self.head_work.s(self.microbatches[i]),
            Kind.T: lambda _, i: self.head_work.t(self.microbatches[i]),
            Kind.B: self._backward_input,
            Kind.BW: self._backward,
            Kind.W: self._backward_weight,
            Kind.G: self._embedding_gradient,
        }

    @property
    def vocabulary_peak(self) -> int:
        """Most bytes alive at once between S and T."""
        return self.head_work.peak

    # -- a step's beginning and end ----------------------------------------------------------------------------------

    def begin(self, batch: Sequence[Microbatch], request: StepRequest) -> None:
        """Takes a step's microbatches."""
        self.request = request
        self.head_work.begin(request)
        for stage in self.parts.stages.values():
            stage.train(request.training)
        self.microbatches = [InFlight(given) for given in self.preparation.step(batch, request)]

    def end(self) -> StepTotals:
        self.microbatches = []
        return self.head_work.totals

    def hidden_states(self) -> list[torch.Tensor]:
        """X [K, h] of each microbatch, after a forward-only step for which they were wanted."""
        return [microbatch.x for microbatch in self.microbatches if microbatch.x is not None]

    def log_probs(self) -> list[torch.Tensor | None]:
        """lp [b, s] of each microbatch, 0 at ignored tokens, after a forward-only step of one head; None on ranks that don't
        have it (0 barriers: all but the last)."""
        return [None if m.log_prob is None else m.spread(m.log_prob) for m in self.microbatches]

    # -- passes --------------------------------------------------------------------------------------------------------

    def run(self, p: Pass) -> None:
        self._passes[p.kind](p.part, p.microbatch)

    def _embed(self, _: int, i: int) -> None:
        microbatch = self.microbatches[i]
        assert self.parts.embedding is not None
        rows = self.parts.embedding.lookup(self._own_ids(microbatch))
        if self.rank == self.layout.first_rank:
            microbatch.inbox.embeddings[self.rank] = rows
        else:
            microbatch.outbox.embedding = rows

    def _own_ids(self, microbatch: InFlight) -> torch.Tensor:
        """Of the tokens whose embedding rows this rank has."""
        given = microbatch.given
        return given.ids.reshape(-1)[given.positions_by_rank[self.rank]]

    def _assemble(self, microbatch: InFlight) -> torch.Tensor:
        """Stage 0's input: the owned rows of every rank put where their tokens stand. No sum, so no rounding."""
        given = microbatch.given
        rows = self._empty(given.ids.numel(), self.parts.hidden)
        for rank, positions in enumerate(given.positions_by_rank):
            rows[positions] = microbatch.inbox.embeddings.pop(rank)
        return rows.view(*given.ids.shape, self.parts.hidden)

    def _input(self, stage: int, microbatch: InFlight) -> torch.Tensor:
        if stage > 0:
            return microbatch.inbox.activations.pop(stage)
        return self._assemble(microbatch) if self.layout.barriers else microbatch.given.ids

    def _forward(self, stage: int, i: int) -> None:
        microbatch, training = self.microbatches[i], self.request.training
        last = stage == self.layout.last_stage
        leaf = self._input(stage, microbatch)
        with torch.set_grad_enabled(training):
            if leaf.is_floating_point():
                leaf = leaf.requires_grad_(training)
            hidden = leaf * self.parts.embedding_scale if stage == 0 and self.layout.barriers else leaf
            extra = last and self.request.heads > 1
            output = self.parts.stages[stage](hidden, microbatch.given.context, extra=extra)
            if last and self.layout.barriers == 0:
                output = self.head_work.undivided(microbatch, output)
        if not last:
            box = microbatch.inbox if self._is_mine(stage + 1) else microbatch.outbox
            box.activations[stage + 1] = output.detach()
        elif self.layout.barriers:
            x, positions = output.detach().reshape(-1, self.parts.hidden), microbatch.given.target_positions
            microbatch.x = x.contiguous() if positions is None else x[positions]
        if training:
            microbatch.inputs[stage], microbatch.outputs[stage] = leaf, output

    def _is_mine(self, stage: int) -> bool:
        return self.layout.rank_of_stage(stage) == self.rank

    def _gradient_of_output(self, microbatch: InFlight, stage: int, output: torch.Tensor) -> torch.Tensor:
        if stage != self.layout.last_stage:
            return microbatch.inbox.gradients.pop(stage)
        return self.head_work.dx(microbatch, output) if self.layout.barriers else torch.ones_like(output)

    def _backward(self, stage: int, i: int) -> None:
        microbatch = self.microbatches[i]
        output, leaf = microbatch.outputs.pop(stage), microbatch.inputs.pop(stage)
        given = self._gradient_of_output(microbatch, stage, output)
        if output.requires_grad:  # not that of embedding rows alone, beside adapters
            torch.autograd.backward(output, given)
        if not leaf.is_floating_point():
            return  # ids: the embedding is inside the stage
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if stage > 0:
            box = microbatch.inbox if self._is_mine(stage - 1) else microbatch.outbox
            box.gradients[stage - 1] = gradient
            return
        rows = gradient.reshape(-1, self.parts.hidden)
        for rank, positions in enumerate(microbatch.given.positions_by_rank):
            if rank == self.rank:
                microbatch.inbox.embedding_gradient = rows[positions]
            else:
                microbatch.outbox.embedding_gradients[rank] = rows[positions]

    def _backward_input(self, stage: int, i: int) -> None:
        self.later.collect((stage, i))
        try:
            self._backward(stage, i)
        finally:
            self.later.stop()

    def _backward_weight(self, stage: int, i: int) -> None:
        with torch.no_grad():
            self.later.run((stage, i), self.parts.buffers)

    def _embedding_gradient(self, _: int, i: int) -> None:
        microbatch = self.microbatches[i]
        rows, microbatch.inbox.embedding_gradient = microbatch.inbox.embedding_gradient, None
        assert self.parts.embedding is not None and rows is not None
        ids = self._own_ids(microbatch)
        if self.parts.padding_index is not None:  # torch's padding_idx: that row learns from the head only
            rows = rows * (ids != self.parts.padding_index)[:, None]
        self.parts.embedding.accumulate(ids, rows)

    # -- messages ------------------------------------------------------------------------------------------------------

    def payload(self, message: Message) -> torch.Tensor:
        microbatch, channel = self.microbatches[message.microbatch], message.channel
        if channel in P2P:
            here = message.target == self.rank
            return self._buffer(message, microbatch) if here else microbatch.outbox.take(message)
        if channel is MessageChannel.C0:
            if microbatch.x is None:
                microbatch.x = self._empty(len(microbatch.given.targets), self.parts.hidden)
            return microbatch.x
        if channel is MessageChannel.C1:
            return microbatch.head_pass.statistics
        of_head = self.head_work.u if channel is MessageChannel.U else self.head_work.c2
        return of_head(microbatch)

    def _buffer(self, message: Message, microbatch: InFlight) -> torch.Tensor:
        """Where a point-to-point message is received."""
        given = microbatch.given
        if message.channel in (MessageChannel.ACTIVATION, MessageChannel.GRADIENT):
            return self._empty(*given.ids.shape, self.parts.hidden)
        sender_owns = message.channel is MessageChannel.EMBEDDING
        owner = message.source if sender_owns else self.rank
        return self._empty(len(given.positions_by_rank[owner]), self.parts.hidden)

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=self.parts.dtype, device=self.device)

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        microbatch, channel = self.microbatches[message.microbatch], message.channel
        if channel is MessageChannel.C1:
            self.head_work.combine(microbatch, tensor)
        elif channel in P2P or self.rank == self.layout.last_rank:
            microbatch.inbox.put(message, tensor)
