"""p ranks in one process, and plain PyTorch to compare with. No process groups."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pinisi.losses import LossValue, reads_logit_sum, weighted_cross_entropy
from pinisi.vocabulary import Curve, HeadShard, Shards


@dataclass
class Result:
    lp: torch.Tensor
    loss: torch.Tensor
    dx: torch.Tensor
    dw: torch.Tensor
    db: torch.Tensor | None


@dataclass
class Case:
    x: torch.Tensor
    weight: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor  # per token, the step's normalisation included
    bias: torch.Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def to(self, dtype):
        bias = None if self.bias is None else self.bias.to(dtype)
        return Case(
            self.x.to(dtype),
            self.weight.to(dtype),
            self.targets,
            self.weights,
            bias,
            self.scale,
            self.softcap,
        )


def wide(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def bits(tensor):
    return tensor.numpy().tobytes()


def derivatives(g, k=None, e=None, n=None, d=None):
    """Of a loss of weights g = -d value / d lp, for a head that doesn't ask for the value."""
    return LossValue(torch.zeros(()), -g, k, e, n, d)


def head_shards(case, shards, barriers, gradient=None, budget=None):
    gradient = torch.zeros_like(case.weight, dtype=wide(case.weight.dtype)) if gradient is None else gradient
    db = None if case.bias is None else torch.zeros_like(case.bias, dtype=gradient.dtype)
    heads = []
    for rank in range(shards.ranks):
        rows = slice(shards.rows(rank).start, shards.rows(rank).stop)
        heads.append(
            HeadShard(
                case.weight[rows],
                gradient[rows],
                rows.start,
                bias=None if case.bias is None else case.bias[rows],
                bias_gradient=None if db is None else db[rows],
                curve=Curve(case.scale, case.softcap),
                barriers=barriers,
                budget=budget,
            )
        )
    return heads, gradient, db


def run_sharded(
    case: Case,
    shards: Shards,
    barriers: int,
    loss=weighted_cross_entropy,
    gradient=None,
    budget: int | None = None,
) -> Result:
    """The head over all shards. Parts of dX are summed in wide precision, as a reduce would at best."""
    heads, gradient, db = head_shards(case, shards, barriers, gradient, budget)
    logit_sum = reads_logit_sum(loss)
    passes = [head.s(case.x, case.targets, logit_sum=logit_sum) for head in heads]
    gathered = torch.stack([one.statistics for one in passes])
    seen = [head.combine(one, gathered) for head, one in zip(heads, passes, strict=True)]
    for other in seen[1:]:
        assert bits(other.lp) == bits(seen[0].lp) and bits(other.lse) == bits(seen[0].lse)
        assert not logit_sum or bits(other.logit_sum) == bits(seen[0].logit_sum)
    more = {"logit_sum": seen[0].logit_sum} if logit_sum else {}
    found = loss(seen[0].lp, seen[0].lse, case.weights, **more)
    dx = torch.zeros_like(case.x, dtype=wide(case.x.dtype))
    if barriers == 1:
        for head, one in zip(heads, passes, strict=True):
            dx += head.u(one, found)
        assert all(head.t(one, found) is None for head, one in zip(heads, passes, strict=True))
    else:
        for head, one in zip(heads, passes, strict=True):
            dx += head.t(one, found)
    assert all(one.nbytes == 0 and one.buffer is None for one in passes)
    return Result(seen[0].lp, found.value, dx, gradient, db)


def plain_logits(x, weight, bias, scale, softcap):
    logits = F.linear(x, weight, bias) * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def run_plain(case: Case, label_smoothing=0.0, z_loss=0.0, of_lp=None) -> Result:
    """Whole logits, F.cross_entropy in fp32 at least, and autograd: as a Hugging Face model does.

    of_lp: the loss as a function of lp instead.
    """
    x = case.x.detach().clone().requires_grad_()
    weight = case.weight.detach().clone().requires_grad_()
    bias = None if case.bias is None else case.bias.detach().clone().requires_grad_()
    logits = plain_logits(x, weight, bias, case.scale, case.softcap)
    logits = logits.to(wide(x.dtype))
    options = {"reduction": "none", "ignore_index": -100}
    nll = F.cross_entropy(logits, case.targets, **options)
    if of_lp is not None:
        loss = of_lp(-nll)
    else:
        smoothed = F.cross_entropy(logits, case.targets, label_smoothing=label_smoothing, **options)
        each = smoothed + z_loss * torch.logsumexp(logits, 1) ** 2 * (case.targets != -100)
        loss = (each * case.weights.to(nll.dtype)).sum()
    loss.backward()
    return Result(-nll.detach(), loss.detach(), x.grad, weight.grad, None if bias is None else bias.grad)


def relative(got, want):
    want = want.double()
    return float((got.double() - want).norm() / want.norm().clamp(min=1e-30))
