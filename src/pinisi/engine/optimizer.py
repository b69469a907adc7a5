"""Updates the parameters that one rank holds by AdamW with fp32 master weights; takes the gradient norm over all ranks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim.adamw import adamw

from pinisi.base.errors import DataError, PinisiError
from pinisi.engine.settings import OptimizerSettings
from pinisi.parallel.boxes import Box
from pinisi.parallel.status import waiting

MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch's AdamW and checkpoints name them
PART = (
    2**24
)  # numbers of a tensor whose moments are in the master's dtype at once, where they are kept in another


@dataclass
class Slot:
    """Holds one parameter of a rank, all of a tensor of the model or a box of it, with its gradient.

    name: the Hugging Face name. shape: the whole tensor's. offset: the first index that is held, of each dimension (how many
    are is the parameter's own shape); all 0 if left out. axes: of each dimension the mesh axis that shards it, None where the
    dimension is whole; none is sharded if left out. counted: False for a copy (tied weights with 0 barriers) whose gradient
    another rank counts, and whose values another one saves. part: the stage whose passes add to the gradient, or one of
    `schedule.needs.Gradients`; None where it is complete only when all passes are done.
    """

    name: str
    parameter: nn.Parameter
    gradient: torch.Tensor
    shape: tuple[int, ...]
    offset: tuple[int, ...] | None = None
    axes: tuple[str | None, ...] | None = None
    counted: bool = True
    part: int | None = None

    def __post_init__(self) -> None:
        self.shape = tuple(self.shape)
        self.axes = (None,) * len(self.shape) if self.axes is None else self.axes
        box = self.box
        assert box.fits(self.shape) and len(self.axes) == len(self.shape), (
            f"{self.name}: {box} of {self.shape}"
        )
        for held, whole, axis in zip(box.size, self.shape, self.axes, strict=True):
            assert held == whole or axis, (
                f"{self.name}: {box} of {self.shape} is in part, and no axis shards it"
            )

    @property
    def box(self) -> Box:
        """Which part of the tensor it is."""
        offset = (0,) * len(self.shape) if self.offset is None else self.offset
        return Box(offset, tuple(self.parameter.shape))

    @property
    def decays(self) -> bool:
        """Weight decay acts on matrices, not on norms and biases."""
        return len(self.shape) > 1


class NotFinite(PinisiError):
    """The loss or the gradient of a step is NaN or infinite."""


class NoTargets(DataError):
    """No token of a step has anything to predict; said on every rank alike."""


class Optimizer:
    """torch's AdamW on master weights.

    For 16-bit parameters the master copy is fp32 and the parameter is rounded from it after every step; fp32 and fp64
    parameters are their own master. Moments are of the master's dtype, or of `settings.moments`, to which they are rounded after
    each step: the step itself is worked out in the master's dtype.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        settings: OptimizerSettings = OptimizerSettings(),
    ):
        self.slots = list(slots)
        self.max_grad_norm, self.weight_decay = settings.max_grad_norm, settings.weight_decay
        self.moments = settings.moments
        self.frozen = not self.slots  # nothing is trained
        self.updates = 0
        self.since = 0  # of these, made before moments last began at zero
        self.parts: dict[str, frozenset[int] | None] | None = None
        self._trained: list[
            torch.Tensor
        ] = []  # by slot the places that are trained, while some parts alone are
        self.masters = [self._master(slot) for slot in self.slots]
        self.average = settings.average
        self.averages = [master.clone() for master in self.masters] if self.average else []
        groups = []
        for decays in (True, False):
            chosen = [
                m for m, s in zip(self.masters, self.slots, strict=True) if s.decays is decays and m.numel()
            ]
            if chosen:
                groups.append({"params": chosen, "weight_decay": settings.weight_decay if decays else 0.0})
        self.adam = (
            torch.optim.AdamW(groups, lr=1.0, betas=settings.betas, eps=settings.eps) if groups else None
        )

    @staticmethod
    def _master(slot: Slot) -> torch.Tensor:
        if slot.parameter.dtype in (torch.bfloat16, torch.float16):
            return slot.parameter.detach().float()
        return slot.parameter.detach()

    def train(self, parts: Mapping[str, Collection[int] | None] | None) -> None:
        """Trains these rows of these tensors (None: all of them) alone from now on, all else unchanged to the bit; None: all.

        Where that is a change, moments begin at zero, with a bias correction as of a first step.
        """
        wanted: dict[str, frozenset[int] | None] | None = None
        if parts is not None:
            wanted = {name: None if rows is None else frozenset(rows) for name, rows in parts.items()}
        if wanted == self.parts:
            return
        self.parts = wanted
        self.since = self.updates
        if self.adam is not None:
            self.adam.state.clear()
        self._trained = (
            [] if wanted is None else [_trained(slot, wanted.get(slot.name, ())) for slot in self.slots]
        )

    def clear_frozen(self) -> None:
        """Sets the gradients of what isn't trained to zero, before anything is made of them."""
        for slot, trained in zip(self.slots, self._trained, strict=bool(self._trained)):
            if slot.shape and len(trained) == len(slot.gradient):
                continue
            kept = slot.gradient[trained] if len(trained) else None
            slot.gradient.zero_()
            if kept is not None:
                slot.gradient[trained] = kept

    def squared_norm(self) -> torch.Tensor:
        """Sum of squares of this rank's gradients; fp64 scalar."""
        found = [square for _, square in self.squares()]
        device = self.slots[0].gradient.device if self.slots else torch.device("cpu")
        return torch.stack(found).sum() if found else torch.zeros((), dtype=torch.float64, device=device)

    def squares(self) -> list[tuple[str, torch.Tensor]]:
        """Returns by tensor's name the sums of squares of this rank's gradients, each parameter counted once over the ranks; fp64
        scalars."""
        return [
            (s.name, row_norms(s.gradient).double().square().sum())
            for s in self.slots
            if s.counted and s.gradient.numel()
        ]

    def step(self, learning_rate: float, norm: float) -> None:
        """One update with gradients scaled to `max_grad_norm` when the global norm exceeds it (0: never)."""
        most = self.max_grad_norm
        scale = most / (norm + 1e-6) if most and norm > most else 1.0
        for master, slot in zip(self.masters, self.slots, strict=True):
            if scale != 1.0:
                slot.gradient.mul_(scale)
            master.grad = slot.gradient
        self.updates += 1
        if self.adam is not None:
            for group in self.adam.param_groups:
                group["lr"] = learning_rate
            if self.parts is None:
                self._step_all()
            else:
                self._step_parts(learning_rate)
        for master, slot in zip(self.masters, self.slots, strict=True):
            if master.dtype != slot.parameter.dtype:
                slot.parameter.detach().copy_(master)
        decay = average_decay(self.average, self.updates)
        for average, master in zip(self.averages, self.masters, strict=bool(self.averages)):
            average.lerp_(master, 1 - decay)

    def _step_all(self) -> None:
        assert self.adam is not None
        if self.moments is None:
            self.adam.step()
            return
        for group in self.adam.param_groups:
            for master in group["params"]:
                kept = self.adam.state[master]
                if not kept:
                    kept["step"] = torch.zeros((), dtype=torch.float32)
                    kept |= {k: torch.zeros_like(master, dtype=self.moments) for k in MOMENTS}
                _step_rounded(master, kept, group)

    def _step_parts(self, learning_rate: float) -> None:
        """A step of some parts: what has neither gradient nor moments stays but for weight decay, which the others get here."""
        assert self.adam is not None
        decay = [group["weight_decay"] for group in self.adam.param_groups]
        for master, slot, trained in zip(self.masters, self.slots, self._trained, strict=True):
            if slot.decays and len(trained):
                master[trained] *= 1 - learning_rate * self.weight_decay
        for group in self.adam.param_groups:
            group["weight_decay"] = 0.0
        self._step_all()
        for group, value in zip(self.adam.param_groups, decay, strict=True):
            group["weight_decay"] = value

    def first_not_finite(self) -> str | None:
        """The name of a parameter of this rank that holds a NaN or an infinity."""
        masters = zip(self.masters, self.slots, strict=True)
        return next((slot.name for master, slot in masters if not bool(torch.isfinite(master).all())), None)

    def zero(self) -> None:
        for slot in self.slots:
            slot.gradient.zero_()

    def state(self) -> list[dict[str, torch.Tensor]]:
        """Per slot: `weight`, the master weight, after the first step both moments, `exp_avg` and `exp_avg_sq`, and `average`
        of the weights where there is one."""
        result = []
        for number, master in enumerate(self.masters):
            kept = self.adam.state.get(master, {}) if self.adam is not None else {}
            found = {"weight": master} | {k: kept[k] for k in MOMENTS if k in kept}
            result.append(found | ({"average": self.averages[number]} if self.averages else {}))
        return result

    def restore(self, state: Sequence[dict[str, torch.Tensor]], steps: int, since: int = 0) -> None:
        """Takes back what `state` gave; `steps` is the number of updates behind it, `since` of those before moments began at zero.

        Without any since then, they start at zero. An average that wasn't kept begins with the weights."""
        self.updates, self.since = steps, since
        steps -= since
        if self.adam is not None:
            self.adam.state.clear()
        for average, kept in zip(self.averages, state, strict=bool(self.averages)):
            average.copy_(kept.get("average", kept["weight"]))
        for master, slot, kept in zip(self.masters, self.slots, state, strict=True):
            master.copy_(kept["weight"])
            if master.data_ptr() != slot.parameter.data_ptr():
                slot.parameter.detach().copy_(master)
            if steps and self.adam is not None and master.numel():
                dtype = self.moments or master.dtype
                self.adam.state[master] = {
                    "step": torch.tensor(float(steps), dtype=torch.float32),
                    **{k: kept[k].to(device=master.device, dtype=dtype) for k in MOMENTS},
                }


def average_decay(decay: float, updates: int) -> float:
    """Returns the decay of a moving average at an update, counted from 1: less in the first ones, so that the start soon weighs
    nothing (as TensorFlow's ExponentialMovingAverage has it)."""
    return min(decay, (1 + updates) / (10 + updates))


def _step_rounded(master: torch.Tensor, kept: dict[str, torch.Tensor], group: Mapping[str, Any]) -> None:
    """Takes torch's AdamW step of one tensor, some rows at a time, with moments that are rounded where they are kept."""
    assert master.grad is not None
    rows = max(1, PART // max(1, master[0].numel())) if master.dim() else 1
    whole = [master, master.grad, *(kept[k] for k in MOMENTS)]
    parts = [t.split(rows) if t.dim() else (t,) for t in whole]
    for weight, gradient, *rounded in zip(*parts, strict=True):
        moments = [moment.to(master.dtype) for moment in rounded]
        beta1, beta2 = group["betas"]
        adamw(
            [weight],
            [gradient],
            [moments[0]],
            [moments[1]],
            [],
            [kept["step"].clone()],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for target, moment in zip(rounded, moments, strict=True):
            target.copy_(moment)
    kept["step"] += 1


def _trained(slot: Slot, rows: Collection[int] | None) -> torch.Tensor:
    """Returns which places along the first dimension of what a slot holds belong to these rows of the whole tensor; None: all."""
    first, count = (slot.box.offset[0], slot.box.size[0]) if slot.shape else (0, 0)
    if rows is None:
        return torch.arange(count, device=slot.gradient.device)
    held = sorted(row - first for row in rows if first <= row < first + count)
    return torch.tensor(held, dtype=torch.long, device=slot.gradient.device)


def row_norms(gradient: torch.Tensor) -> torch.Tensor:
    """Returns the norm of each row, of a vector its own, in the gradient's dtype: torch's vector_norm in fp64 takes thirty times
    as long. Squares are summed in fp64 then."""
    return torch.linalg.vector_norm(gradient.flatten(1) if gradient.dim() > 1 else gradient, dim=-1)


def global_sum(values: torch.Tensor, group: dist.ProcessGroup | None) -> torch.Tensor:
    """Sum over the ranks of a group, in place."""
    if dist.is_initialized():
        with waiting():
            dist.all_reduce(values, group=group)
    return values


def learning_rate(
    step: int,
    *,
    peak: float,
    schedule: str,
    warmup: int,
    steps: int,
    decay: int,
    minimum: float,
) -> float:
    """The rate of update number `step` (from 0) of `steps`.

    constant; cosine to `minimum` x peak; wsd = warm-up, stable, linear decay over the last `decay` steps (MiniCPM,
    arXiv 2404.06395). `warmup` steps rise linearly to the peak.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "cosine":
        done = (step - warmup) / max(1, steps - warmup)
        return peak * (minimum + (1 - minimum) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    if schedule == "wsd" and decay and step >= steps - decay:
        left = (steps - step) / decay
        return peak * (minimum + (1 - minimum) * left)
    return peak
