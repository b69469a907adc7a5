"""Computes the loss of one shard and its gradients by other libraries, as far as they are installed, to stand beside HeadShard.

Each sees the shard as a whole vocabulary. Liger (arXiv 2410.10989), cut-cross-entropy (arXiv 2411.09009; both in Triton) and
QuACK (Dao-AILab, in CuTe) are kernels for a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.losses import LossValue
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.statistics import statistics_dtype

# (x [T, h], weight [V_r, h], targets [T]) -> the mean of -lp, from which torch makes gradients
MeanLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One microbatch on one shard, every token's weight 1/T. gradient [V_r, h]: where HeadShard adds dW."""

    x: Tensor
    weight: Tensor
    targets: Tensor
    gradient: Tensor

    @property
    def loss(self) -> LossValue:
        by_log_prob = torch.full(
            (len(self.x),), -1 / len(self.x), device=self.x.device, dtype=self.gradient.dtype
        )
        return LossValue(by_log_prob.new_zeros(()), by_log_prob)


@dataclass(frozen=True)
class Outcome:
    """lp [T] (where a form gives it), the mean of -lp, dX [T, h] and dW [V_r, h]."""

    lp: Tensor | None
    loss: Tensor
    dx: Tensor
    dw: Tensor


Form = Callable[[Case], Outcome]


def random_case(
    tokens: int, hidden: int, rows: int, dtype: torch.dtype, device: torch.device, sure: bool = False
) -> Case:
    """Logits of about unit size; sure: of every second token p_y is raised to .9 and more."""
    draws = torch.Generator(device).manual_seed(tokens + rows)
    x = torch.randn(tokens, hidden, generator=draws, device=device)
    weight = torch.randn(rows, hidden, generator=draws, device=device) / hidden**0.5
    targets = torch.randint(rows, (tokens,), generator=draws, device=device)
    if sure:
        x[::2] += 18 * weight[targets[::2]]
    gradient = torch.zeros(rows, hidden, device=device, dtype=statistics_dtype(dtype))
    return Case(x.to(dtype), weight.to(dtype), targets, gradient)


def head_form(case: Case, barriers: int, budget: int | None = None) -> Form:
    """HeadShard as the engine drives it, its buffers kept from call to call."""
    head = HeadShard(case.weight, case.gradient, 0, barriers=barriers, budget=budget)

    def run(case: Case) -> Outcome:
        head_pass = head.s(case.x, case.targets)
        lp = head.combine(head_pass, head_pass.statistics.unsqueeze(0)).lp
        loss = case.loss
        dx = head.u(head_pass, loss) if barriers == 1 else None
        from_t = head.t(head_pass, loss)
        dx = from_t if dx is None else dx
        assert dx is not None
        return Outcome(lp, -lp.mean(), dx, case.gradient)

    return run


def autograd_form(mean_loss: MeanLoss) -> Form:
    def run(case: Case) -> Outcome:
        x, weight = case.x.detach().requires_grad_(), case.weight.detach().requires_grad_()
        loss = mean_loss(x, weight, case.targets)
        loss.backward()
        assert x.grad is not None and weight.grad is not None
        return Outcome(None, loss.detach(), x.grad, weight.grad)

    return run


def plain(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Whole logits, widened as a Hugging Face model does."""
    logits = F.linear(x, weight)
    return F.cross_entropy(logits.to(statistics_dtype(x.dtype)), targets)


def forms(case: Case, barriers: tuple[int, ...] = (1, 2), names: tuple[str, ...] = ()) -> dict[str, Form]:
    """Every form that runs here, by name, ours first; `names`: only these."""
    found: dict[str, Form] = {}
    for count in barriers:
        word = "barrier" if count == 1 else "barriers"
        found[f"pinisi, {count} {word}"] = head_form(case, count)
        found[f"pinisi, {count} {word}, recompute"] = head_form(case, count, 0)
    found["torch"] = autograd_form(plain)
    for name, mean_loss in _peers(case.x.device).items():
        found[name] = autograd_form(mean_loss)
    if not names:
        return found
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ConfigError(
            f"'{unknown[0]}' is no form that runs here on {case.x.device.type}: choose of {'; '.join(found)}"
        )
    return {name: found[name] for name in names}


def is_ours(name: str) -> bool:
    """Whether this form sees a shard's rows as part of a vocabulary."""
    return name.startswith("pinisi, ")


def _peers(device: torch.device) -> dict[str, MeanLoss]:
    found: dict[str, MeanLoss] = {}
    fused: Any = getattr(F, "linear_cross_entropy", None)  # new in torch: older ones lack it
    if fused is not None:
        options: Any = getattr(torch.nn, "LinearCrossEntropyOptions", None)
        found["torch linear_cross_entropy"] = fused
        if options is not None:
            chunked = options()
            found["torch linear_cross_entropy, chunked"] = lambda x, w, y: fused(x, w, y, options=chunked)
            wide = options(acc_policy="accurate")
            found["torch linear_cross_entropy, accurate"] = lambda x, w, y: fused(x, w, y, options=wide)
    if device.type != "cuda":
        return found
    if find_spec("liger_kernel") is not None:
        loss = import_module("liger_kernel.transformers").LigerFusedLinearCrossEntropyLoss()
        found["Liger"] = lambda x, w, y: loss(w, x, y)
    if find_spec("cut_cross_entropy") is not None:
        cut = import_module("cut_cross_entropy").linear_cross_entropy
        found["cut-cross-entropy"] = lambda x, w, y: cut(x, w, y)
    if find_spec("quack") is not None:
        quack = import_module("quack.linear_cross_entropy").chunked_linear_cross_entropy
        found["QuACK"] = lambda x, w, y: quack(x, w, y)
    return found


def exact(case: Case) -> Outcome:
    """In fp64, by autograd, with lp."""
    x, weight = case.x.double().requires_grad_(), case.weight.double().requires_grad_()
    lp = -F.cross_entropy(F.linear(x, weight), case.targets, reduction="none")
    (-lp.mean()).backward()
    assert x.grad is not None and weight.grad is not None
    return Outcome(lp.detach(), -lp.detach().mean(), x.grad, weight.grad)


def errors(got: Outcome, wanted: Outcome) -> dict[str, float]:
    """Relative errors: of lp where it is given, of the loss, of dX and dW."""
    found = {
        name: float((a.double() - b).norm() / b.norm())
        for name, a, b in (
            ("loss", got.loss, wanted.loss),
            ("dx", got.dx, wanted.dx),
            ("dw", got.dw, wanted.dw),
        )
    }
    if got.lp is not None and wanted.lp is not None:
        found["lp"] = float((got.lp.double() - wanted.lp).norm() / wanted.lp.norm())
    return found
