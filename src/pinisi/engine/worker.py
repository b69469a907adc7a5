"""Does the passes of one rank with a real model.

Shapes: ids and targets [b, s]; hidden states between stages [b, s, h]; X, U and dX at the head [T, h] with T = b·s.
Every rank has every microbatch's ids, targets and weights from its data loader, so that no message carries them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.extra_heads import by_head, head_targets
from pinisi.engine.gradients import WeightGradients
from pinisi.engine.loss_inputs import flat_data, target_weights
from pinisi.engine.parts import Parts
from pinisi.engine.settings import Objective
from pinisi.losses import CheckedLoss, LogProbs, LossValue
from pinisi.schedule import Kind, Layout, Pass
from pinisi.schedule.program import Message, MessageChannel
from pinisi.vocabulary import Head, UnreadHead

Want = Literal["loss", "log_probs", "hidden"]


@dataclass
class _Slot:
    """One microbatch on this rank."""

    ids: torch.Tensor  # [b, s] on the device
    targets: torch.Tensor  # [K], of the tokens that the head sees
    weights: torch.Tensor  # [K], zero where ignored, normalised by the step's sum of weights
    languages: torch.Tensor  # [K], of head k the language number + k times how many there are
    owned: list[torch.Tensor]  # per rank, where its tokens stand in the microbatch
    data: dict[str, Any] = field(default_factory=dict)  # what the loss reads: [K] per token, or vectors
    kept: torch.Tensor | None = None  # [K], where those stand that S sees; None: all
    context: object = None
    inputs: dict[int, torch.Tensor] = field(default_factory=dict)  # stage -> its input, a leaf
    outputs: dict[int, torch.Tensor] = field(default_factory=dict)  # stage -> its output, with its graph
    arrived: dict[tuple[MessageChannel, int], torch.Tensor] = field(default_factory=dict)
    x: torch.Tensor | None = None  # [K, h], the last stage's output
    teacher: torch.Tensor | None = None  # [K, h_t], a teacher's
    head_pass: Any = None
    lp: torch.Tensor | None = None  # [K], in evaluation
    loss: LossValue | None = None  # with its derivatives per token
    dx_part: torch.Tensor | None = None
    vocabulary_bytes: int = 0


def kept_positions(targets: torch.Tensor) -> torch.Tensor | None:
    """Where the tokens stand that the head sees: ignored ones (prompts, padding) never reach C0, S, T or C1. targets [T] on the
    host, so that the sizes of messages are known without asking a device. None if nothing is ignored; one token at least, for
    collectives of nothing are an error in some backends."""
    ignored = targets == IGNORE
    if not bool(ignored.any()):
        return None
    kept = torch.nonzero(~ignored).flatten()
    return kept if len(kept) else torch.zeros(1, dtype=torch.int64)


def _spread(values: torch.Tensor, ids: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """values [K] put where they stand in [b, s], 0 elsewhere."""
    if kept is not None:
        values = values.new_zeros(ids.numel()).index_copy_(0, kept, values)
    return values.view(ids.shape)


class Totals:
    """Sums over a step, on the device: loss by language and number of tokens by language, the model's own head first, then
    each extra head; nothing is read inside a step."""

    def __init__(self, languages: int, device: torch.device):
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.by_language = torch.zeros((2, languages), dtype=torch.float64, device=device)

    def add(
        self, value: torch.Tensor, lp: torch.Tensor, targets: torch.Tensor, languages: torch.Tensor
    ) -> None:
        self.loss += value
        kept = (targets != IGNORE).to(torch.float64)
        self.by_language[0].index_add_(0, languages, -lp.to(torch.float64) * kept)
        self.by_language[1].index_add_(0, languages, kept)


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
        self.loss, self.languages = CheckedLoss(objective.loss), objective.languages
        self.later = later or WeightGradients()
        self.slots: list[_Slot] = []
        self.head: Head = UnreadHead()
        self.training = True
        self.want: Want = "loss"
        self.total = 1.0
        self.heads = 1  # that this step uses
        self.totals = Totals(self.languages, device)
        self.vocabulary_peak = 0  # most bytes alive at once between S and T
        self._vocabulary_alive = 0
        self._passes: dict[Kind, Callable[[int, int], None]] = {
            Kind.E: self._embed,
            Kind.F: self._forward,
            Kind.S: self._head_s,
            Kind.T: self._head_t,
            Kind.B: self._backward_input,
            Kind.BW: self._backward,
            Kind.W: self._backward_weight,
            Kind.G: self._embedding_gradient,
        }

    # -- a step's beginning and end ----------------------------------------------------------------------------------

    def begin(
        self,
        batch: Sequence[Microbatch],
        weights: Sequence[float],
        *,
        total: float = 1.0,
        training: bool = True,
        want: Want = "loss",
        teacher: Sequence[torch.Tensor] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        """Takes a step's microbatches.

        weights: of each head, what a target of weight 1 weighs in the step's loss; one number alone leaves the extra heads
        out. total: for losses that read it. want: of a forward-only step maybe log-probabilities alone, or hidden states.
        teacher: of each microbatch [K, h_t], for a loss that reads the divergence from it. seeds: of each microbatch, what its
        dropped numbers follow from; nothing is dropped but in training.
        """
        self.training, self.heads, self.total, self.want = training, len(weights), total, want
        self.totals = Totals(self.languages * self.heads, self.device)
        self._vocabulary_alive = 0
        self.head = UnreadHead() if want == "hidden" or self.parts.head is None else self.parts.head
        self.head.weights_changed()
        for stage in self.parts.stages.values():
            stage.train(training)
        given = [None] * len(batch) if seeds is None else seeds
        self.slots = [self._slot(b, weights, seed) for b, seed in zip(batch, given, strict=True)]
        for slot, hidden in zip(self.slots, teacher or (), strict=teacher is not None):
            slot.teacher = hidden

    def end(self) -> Totals:
        self.slots = []
        return self.totals

    def hidden_states(self) -> list[torch.Tensor]:
        """X [K, h] of each microbatch, after a forward-only step for which they were wanted."""
        return [slot.x for slot in self.slots if slot.x is not None]

    def log_probs(self) -> list[torch.Tensor | None]:
        """lp [b, s] of each microbatch, 0 at ignored tokens, after a forward-only step of one head; None on ranks that don't
        have it (0 barriers: all but the last)."""
        return [None if slot.lp is None else _spread(slot.lp, slot.ids, slot.kept) for slot in self.slots]

    def _slot(self, batch: Microbatch, weights: Sequence[float], seed: int | None) -> _Slot:
        flat = batch.tokens.reshape(-1)
        owned: list[torch.Tensor] = []
        owner = self.parts.shards.owner(flat)  # raises for an id that has no row
        if self.layout.barriers:
            # on the host: the sizes of messages must be known without asking the device
            owned = [torch.nonzero(owner == r).flatten().to(self.device) for r in range(self.layout.ranks)]
        targets = head_targets(batch, self.heads).reshape(-1)
        self.parts.shards.check(targets, ignore_index=IGNORE)
        kept = kept_positions(targets) if self.layout.barriers else None
        languages = by_head(batch.languages.reshape(-1), self.heads, self.languages)
        dtype = self._statistics_dtype()
        by_target = target_weights(batch, self.heads, dtype)
        each = (by_target * torch.tensor(weights, dtype=dtype)[:, None, None]).reshape(-1)
        data: dict[str, Any] = flat_data(batch, self.loss.data, dtype, kept) if self.want == "loss" else {}
        data = {name: tensor.to(self.device, non_blocking=True) for name, tensor in data.items()}
        if kept is not None:
            targets, languages, each = targets[kept], languages[kept], each[kept]
        slot = _Slot(
            ids=batch.tokens.to(self.device, non_blocking=True),
            targets=targets.to(self.device, non_blocking=True),
            weights=each.to(self.device, non_blocking=True),
            languages=languages.to(self.device, non_blocking=True),
            owned=owned,
            data=data | ({"total": self.total} if self.loss.reads_total else {}),
            kept=None if kept is None else kept.to(self.device, non_blocking=True),
        )
        if self.parts.stages:
            slot.context = replace(self.parts.make_context(batch.documents, batch.positions), seed=seed)
        return slot

    def _statistics_dtype(self) -> torch.dtype:
        return torch.float64 if self.parts.dtype is torch.float64 else torch.float32

    # -- passes --------------------------------------------------------------------------------------------------------

    def run(self, p: Pass) -> None:
        self._passes[p.kind](p.part, p.microbatch)

    def _embed(self, _: int, i: int) -> None:
        slot = self.slots[i]
        assert self.parts.embedding is not None
        mine = slot.ids.reshape(-1)[slot.owned[self.rank]]
        slot.arrived[MessageChannel.EMBEDDING, self.rank] = self.parts.embedding.lookup(mine)

    def _assemble(self, slot: _Slot) -> torch.Tensor:
        """Stage 0's input: the owned rows of every rank put where their tokens stand. No sum, so no rounding."""
        rows = torch.empty((slot.ids.numel(), self.parts.hidden), dtype=self.parts.dtype, device=self.device)
        for r, where in enumerate(slot.owned):
            rows[where] = slot.arrived.pop((MessageChannel.EMBEDDING, r))
        return rows.view(*slot.ids.shape, self.parts.hidden)

    def _forward(self, stage: int, i: int) -> None:
        slot = self.slots[i]
        module = self.parts.stages[stage]
        first, last = stage == 0, stage == self.layout.last_stage
        if first and self.layout.barriers == 0:
            leaf = slot.ids
        elif first:
            leaf = self._assemble(slot)
        else:
            leaf = slot.arrived.pop((MessageChannel.ACTIVATION, stage))
        with torch.set_grad_enabled(self.training):
            if leaf.is_floating_point():
                leaf = leaf.requires_grad_(self.training)
            hidden = leaf * self.parts.embedding_scale if first and self.layout.barriers else leaf
            output = module(hidden, slot.context, extra=last and self.heads > 1)
            if last and self.layout.barriers == 0:
                output = self._whole_head_loss(slot, output)
        if last and self.layout.barriers:
            x = output.detach().reshape(-1, self.parts.hidden)
            slot.x = x.contiguous() if slot.kept is None else x[slot.kept]
        elif not last and self.layout.rank_of_stage(stage + 1) == self.rank:
            slot.arrived[MessageChannel.ACTIVATION, stage + 1] = output.detach()
        if self.training:
            slot.inputs[stage], slot.outputs[stage] = leaf, output
        elif not last:
            slot.outputs[stage] = output

    def _whole_head_loss(self, slot: _Slot, logits: torch.Tensor) -> torch.Tensor:
        """0 barriers: lp, lse and the logits' sum [T] from whole logits, and the same small loss function as with a split
        head. Returns what has the loss' gradients where each of its own [T] is 1."""
        logits = logits.reshape(-1, logits.shape[-1]).to(self._statistics_dtype())
        lp = -nn.functional.cross_entropy(logits, slot.targets, ignore_index=IGNORE, reduction="none")
        lse = logits.gather(1, slot.targets.clamp(min=0)[:, None]).squeeze(1) - lp
        logit_sum = logits.sum(1) if "logit_sum" in self.loss.of_head else None
        entropy = None
        if "entropy" in self.loss.of_head:
            every = logits.log_softmax(1)
            entropy = -(every.exp() * every).sum(1) * (slot.targets != IGNORE)
        with torch.no_grad():
            seen = LogProbs(
                lp.detach(),
                lse.detach(),
                None if logit_sum is None else logit_sum.detach(),
                None if entropy is None else entropy.detach(),
            )
            result = self._take_loss(slot, seen)
        output = result.by_log_prob * lp
        for derivative, of in (
            (result.by_logsumexp, lse),
            (result.by_logit_sum, logit_sum),
            (result.by_entropy, entropy),
        ):
            if derivative is not None and of is not None:
                output = output + derivative * of
        return output

    def _head_s(self, _: int, i: int) -> None:
        slot = self.slots[i]
        assert slot.x is not None
        with torch.no_grad():
            logit_sum = "logit_sum" in self.loss.of_head and self.want == "loss"
            slot.head_pass = self.head.s(
                slot.x, slot.targets, keep=self.training, logit_sum=logit_sum, teacher=slot.teacher
            )
            slot.vocabulary_bytes = slot.head_pass.nbytes
            self._vocabulary_alive += slot.vocabulary_bytes
            self.vocabulary_peak = max(self.vocabulary_peak, self._vocabulary_alive)

    def _combine(self, slot: _Slot, gathered: torch.Tensor) -> None:
        """What C1 brings: lp on every rank, and from it the loss and its derivatives, which no message carries."""
        with torch.no_grad():
            self._take_loss(slot, self.head.combine(slot.head_pass, gathered))
        if not self.training:
            slot.head_pass, slot.x = None, slot.x if self.want == "hidden" else None

    def _take_loss(self, slot: _Slot, seen: LogProbs) -> LossValue:
        if not self.training:
            slot.lp = seen.lp
        if self.want != "loss":
            return LossValue(torch.zeros_like(seen.lp).sum(), torch.zeros_like(seen.lp))
        slot.loss = self.loss(seen, slot.weights, slot.data)
        self.totals.add(slot.loss.value, seen.lp, slot.targets, slot.languages)
        return slot.loss

    def _head_t(self, _: int, i: int) -> None:
        slot = self.slots[i]
        self._vocabulary_alive -= slot.vocabulary_bytes
        assert slot.loss is not None
        with torch.no_grad():
            slot.dx_part = self.head.t(slot.head_pass, slot.loss)
        slot.x = slot.head_pass = None  # with 1 barrier U has been made: T waits for the whole link behind C1

    def _gradient_of_output(self, slot: _Slot, stage: int, output: torch.Tensor) -> torch.Tensor:
        if stage != self.layout.last_stage:
            return slot.arrived.pop((MessageChannel.GRADIENT, stage))
        assert slot.loss is not None
        if self.layout.barriers == 0:
            return torch.ones_like(slot.loss.by_log_prob)
        dx = slot.arrived.pop((MessageChannel.U if self.layout.barriers == 1 else MessageChannel.C2, 0))
        dx = dx.to(self.parts.dtype)
        if slot.kept is not None:  # the others' gradient is zero
            dx = dx.new_zeros(output.numel() // dx.shape[1], dx.shape[1]).index_copy_(0, slot.kept, dx)
        return dx.view(output.shape)

    def _backward(self, stage: int, i: int) -> None:
        slot = self.slots[i]
        output, leaf = slot.outputs.pop(stage), slot.inputs.pop(stage)
        torch.autograd.backward(output, self._gradient_of_output(slot, stage, output))
        if not leaf.is_floating_point():
            return  # ids: the embedding is inside the stage
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if stage == 0:
            rows = gradient.reshape(-1, self.parts.hidden)
            for r, where in enumerate(slot.owned):
                slot.arrived[MessageChannel.EMBEDDING_GRADIENT, r] = rows[where]
        elif self.layout.rank_of_stage(stage - 1) == self.rank:
            slot.arrived[MessageChannel.GRADIENT, stage - 1] = gradient
        else:
            slot.arrived[MessageChannel.GRADIENT, -stage] = gradient  # waits to be sent

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
        slot = self.slots[i]
        rows = slot.arrived.pop((MessageChannel.EMBEDDING_GRADIENT, self.rank))
        assert self.parts.embedding is not None
        ids = slot.ids.reshape(-1)[slot.owned[self.rank]]
        if self.parts.padding_index is not None:  # torch's padding_idx: that row learns from the head only
            rows = rows * (ids != self.parts.padding_index)[:, None]
        self.parts.embedding.accumulate(ids, rows)

    # -- messages ------------------------------------------------------------------------------------------------------

    def payload(self, message: Message) -> torch.Tensor:
        slot = self.slots[message.microbatch]
        channel = message.channel
        receiving = message.target == self.rank and message.source >= 0 and message.source != self.rank
        if channel is MessageChannel.ACTIVATION:
            if receiving:
                return self._empty(*slot.ids.shape, self.parts.hidden)
            output = slot.outputs[message.stage - 1] if self.training else slot.outputs.pop(message.stage - 1)
            return output.detach().contiguous()
        if channel is MessageChannel.GRADIENT:
            if receiving:
                return self._empty(*slot.ids.shape, self.parts.hidden)
            return slot.arrived.pop((MessageChannel.GRADIENT, -(message.stage + 1))).contiguous()
        if channel is MessageChannel.EMBEDDING:
            if receiving:
                return self._empty(len(slot.owned[message.source]), self.parts.hidden)
            return slot.arrived.pop((channel, self.rank)).contiguous()
        if channel is MessageChannel.EMBEDDING_GRADIENT:
            if receiving:
                return self._empty(len(slot.owned[self.rank]), self.parts.hidden)
            return slot.arrived.pop((channel, message.target))
        if channel is MessageChannel.C0:
            if slot.x is None:
                slot.x = self._empty(len(slot.targets), self.parts.hidden)
            return slot.x
        if channel is MessageChannel.C1:
            return slot.head_pass.statistics  # type: ignore[attr-defined]
        return self._reduction(slot, channel)

    def _reduction(self, slot: _Slot, channel: MessageChannel) -> torch.Tensor:
        """This rank's part of dX, summed in at least 32 bit: p roundings to 16 bit would be seen in dX. U goes after C1, so
        that the loss is known, and carries its coefficients already."""
        part: torch.Tensor | None
        if channel is MessageChannel.U:
            assert slot.loss is not None
            with torch.no_grad():
                part = self.head.u(slot.head_pass, slot.loss)
        else:
            part, slot.dx_part = slot.dx_part, None
        assert part is not None
        return part.to(self._statistics_dtype())

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=self.parts.dtype, device=self.device)

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        slot = self.slots[message.microbatch]
        channel = message.channel
        if channel is MessageChannel.C1:
            self._combine(slot, tensor)
        elif channel in (MessageChannel.ACTIVATION, MessageChannel.GRADIENT):
            slot.arrived[channel, message.stage] = tensor
        elif channel is MessageChannel.EMBEDDING:
            slot.arrived[channel, message.source] = tensor
        elif channel is MessageChannel.EMBEDDING_GRADIENT:
            slot.arrived[channel, self.rank] = tensor
        elif channel in (MessageChannel.U, MessageChannel.C2) and self.rank == self.layout.last_rank:
            slot.arrived[channel, 0] = tensor
