"""Does a rank's work at the head: S, T and what is sent between them, or, undivided, logits and loss in one."""

from __future__ import annotations

import torch
from torch import nn

from pinisi.base.ids import IGNORE
from pinisi.engine.in_flight import InFlight
from pinisi.engine.parts import Parts
from pinisi.engine.prepared import StepRequest, Want
from pinisi.losses import CheckedLoss, LogProbs, LossValue
from pinisi.vocabulary import Head, UnreadHead


class StepTotals:
    """Sums over a step, on the device: loss by language and number of tokens by language, the model's own head first, then
    each extra head; what the loss measures besides; nothing is read inside a step."""

    def __init__(self, languages: int, device: torch.device, measures: int = 0):
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.by_language = torch.zeros((2, languages), dtype=torch.float64, device=device)
        self.measured = torch.zeros(measures, dtype=torch.float64, device=device)

    def add(self, loss: LossValue, lp: torch.Tensor, microbatch: InFlight) -> None:
        given = microbatch.given
        counted = (given.targets != IGNORE).to(torch.float64)
        self.loss += loss.value
        if loss.measured is not None:
            self.measured += loss.measured
        self.by_language[0].index_add_(0, given.languages, -lp.to(torch.float64) * counted)
        self.by_language[1].index_add_(0, given.languages, counted)


class HeadWork:
    """Serves one rank's passes S and T over a whole run; `begin` starts a step. `peak`: most bytes alive at once from S to T."""

    def __init__(self, parts: Parts, loss: CheckedLoss, languages: int, device: torch.device):
        self.parts, self.loss, self.languages, self.device = parts, loss, languages, device
        self.head: Head = UnreadHead()
        self.request = StepRequest([1.0])
        self.totals = StepTotals(languages, device, len(loss.measures))
        self.peak = self._alive = 0

    def begin(self, request: StepRequest) -> None:
        """After a change of weights, before a step's first S."""
        head = None if request.want is Want.HIDDEN_STATES else self.parts.head
        self.head = head or UnreadHead()
        self.head.weights_changed()
        self.request = request
        self.totals = StepTotals(self.languages * request.heads, self.device, len(self.loss.measures))
        self._alive = 0

    @torch.no_grad()
    def s(self, microbatch: InFlight) -> None:
        assert microbatch.x is not None
        request, given = self.request, microbatch.given
        microbatch.head_pass = self.head.s(
            microbatch.x,
            given.targets,
            keep=request.training,
            logit_sum=request.want is Want.LOSS and "logit_sum" in self.loss.of_head,
            teacher=given.teacher,
        )
        microbatch.head_bytes = microbatch.head_pass.nbytes
        self._alive += microbatch.head_bytes
        self.peak = max(self.peak, self._alive)

    @torch.no_grad()
    def combine(self, microbatch: InFlight, gathered: torch.Tensor) -> None:
        """What C1 brings: lp on every rank, and from it the loss and its derivatives, which no message carries."""
        self._take(microbatch, self.head.combine(microbatch.head_pass, gathered))
        if not self.request.training:
            microbatch.head_pass = None
            if self.request.want is not Want.HIDDEN_STATES:
                microbatch.x = None

    @torch.no_grad()
    def u(self, microbatch: InFlight) -> torch.Tensor:
        """This rank's part of dX. U goes after C1, so that the loss is known, and carries its coefficients already."""
        assert microbatch.loss is not None
        return self._wide(self.head.u(microbatch.head_pass, microbatch.loss))

    @torch.no_grad()
    def t(self, microbatch: InFlight) -> None:
        self._alive -= microbatch.head_bytes
        assert microbatch.loss is not None
        microbatch.outbox.dx = self.head.t(microbatch.head_pass, microbatch.loss)
        # with 1 barrier U has been made: T waits for the whole link behind C1
        microbatch.x = microbatch.head_pass = None

    def c2(self, microbatch: InFlight) -> torch.Tensor:
        """This rank's part of dX, which T has made."""
        dx, microbatch.outbox.dx = microbatch.outbox.dx, None
        assert dx is not None
        return self._wide(dx)

    def _wide(self, dx: torch.Tensor) -> torch.Tensor:
        """Summed in at least 32 bit: p roundings to 16 bit would be seen in dX."""
        return dx.to(self.parts.statistics_dtype)

    def dx(self, microbatch: InFlight, output: torch.Tensor) -> torch.Tensor:
        """The gradient of the last stage's output, in its shape: dX where the head has seen a token, zero elsewhere."""
        dx, microbatch.inbox.dx = microbatch.inbox.dx, None
        assert dx is not None
        dx = dx.to(self.parts.dtype)
        positions = microbatch.given.target_positions
        if positions is not None:
            dx = dx.new_zeros(output.numel() // dx.shape[1], dx.shape[1]).index_copy_(0, positions, dx)
        return dx.view(output.shape)

    def undivided(self, microbatch: InFlight, logits: torch.Tensor) -> torch.Tensor:
        """0 barriers: what a loss reads, [T] each, from whole logits, and the same small loss function as with a split head.
        Returns what has the loss' gradients where each of its own [T] is 1."""
        targets, reads = microbatch.given.targets, self.loss.of_head
        logits = logits.reshape(-1, logits.shape[-1]).to(self.parts.statistics_dtype)
        lp = -nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
        lse = logits.gather(1, targets.clamp(min=0)[:, None]).squeeze(1) - lp
        logit_sum = logits.sum(1) if "logit_sum" in reads else None
        entropy = None
        if "entropy" in reads:
            every = logits.log_softmax(1)
            entropy = -(every.exp() * every).sum(1) * (targets != IGNORE)
        more = (None if of is None else of.detach() for of in (logit_sum, entropy))
        with torch.no_grad():
            loss = self._take(microbatch, LogProbs(lp.detach(), lse.detach(), *more))
        output = loss.by_log_prob * lp
        for derivative, of in zip(loss[2:5], (lse, logit_sum, entropy), strict=True):
            if derivative is not None and of is not None:
                output = output + derivative * of
        return output

    def _take(self, microbatch: InFlight, seen: LogProbs) -> LossValue:
        if not self.request.training:
            microbatch.log_prob = seen.lp
        if self.request.want is not Want.LOSS:
            return LossValue(torch.zeros_like(seen.lp).sum(), torch.zeros_like(seen.lp))
        microbatch.loss = self.loss(seen, microbatch.given.weights, microbatch.given.loss_data)
        self.totals.add(microbatch.loss, seen.lp, microbatch)
        return microbatch.loss
