"""Several heads at once against one process: transformers' own model and, beside its last layer, further layers of its kind."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.models import ModelSpec, RandomWeights, read_spec, reference_inputs, with_extra_heads
from pinisi.parallel.communicator import Communicator
from pinisi.schedule import names
from tests.distributed.cases import (
    TOLERANCE,
    Case,
    assemble,
    batches,
    config_of,
    engine_of,
    possible,
    reference_gradients,
    reference_model,
    schedule_of,
    worst,
)
from tests.effort import only_full


@dataclass(frozen=True)
class Heads:
    """A case with D extra heads, which count `weight` together."""

    case: Case = field(default_factory=Case)
    extra: int = 1
    weight: float = 0.3


class Reference(nn.Module):
    """The whole model and its extra heads in plain torch: each takes what transformers hands to the model's last layer."""

    def __init__(self, spec: ModelSpec, case: Case):
        super().__init__()
        self.spec, self.case = spec, case
        self.model = reference_model(spec, case)
        last = self.model.model.layers[-1]
        self.extra_heads = nn.ModuleList(deepcopy(last) for _ in range(spec.extra_heads))
        start = RandomWeights(spec, case.seed, case.dtype)
        with torch.no_grad():
            for name, parameter in self.extra_heads.named_parameters():
                parameter.copy_(start.get("extra_heads." + name))
        last.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.given = args, kwargs

    def named(self) -> dict[str, nn.Parameter]:
        extra = {"extra_heads." + name: p for name, p in self.extra_heads.named_parameters()}
        return dict(self.model.named_parameters()) | extra

    def logits(self, b: Microbatch) -> list[torch.Tensor]:
        inputs = reference_inputs(self.spec, b.tokens, b.documents, b.positions, self.case.dtype)
        found = [self.model(**inputs).logits]
        args, kwargs = self.given
        for head in self.extra_heads:
            out = head(*args, **kwargs)
            z = self.model.lm_head(self.model.model.norm(out[0] if isinstance(out, tuple) else out))
            cap = self.spec.config.to_dict().get("final_logit_softcapping")
            found.append(z if cap is None else torch.tanh(z / cap) * cap)
        return found


def further_targets(b: Microbatch, k: int) -> torch.Tensor:
    """The target that stands k places further on, place by place."""
    found = torch.full_like(b.targets, IGNORE)
    for row in range(len(b.tokens)):
        for t in range(b.tokens.shape[1] - k):
            if b.documents[row, t] == b.documents[row, t + k]:
                found[row, t] = b.targets[row, t + k]
    return found


def reference_step(model: Reference, batch: list[Microbatch], given: Heads) -> tuple[float, list[float]]:
    """Gradients of the step's loss; returns the loss and each head's plain cross-entropy."""
    heads, case = range(given.extra + 1), given.case
    weights = [1.0] + [given.weight / given.extra] * given.extra if given.extra else [1.0]
    targets = [[further_targets(b, k) for k in heads] for b in batch]
    totals = [max(1, sum(int((row[k] != IGNORE).sum()) for row in targets)) for k in heads]
    loss, plain = 0.0, [0.0] * len(heads)
    for b, wanted in zip(batch, targets, strict=True):
        parts = []
        for k, z in enumerate(model.logits(b)):
            z, y = z.flatten(0, 1), wanted[k].flatten()
            value = F.cross_entropy(
                z, y, ignore_index=IGNORE, reduction="sum", label_smoothing=case.label_smoothing
            )
            value = value + case.z_loss * z.logsumexp(1)[y != IGNORE].square().sum()
            parts.append(weights[k] * value / totals[k])
            plain[k] += float(F.cross_entropy(z, y, ignore_index=IGNORE, reduction="sum").detach())
        sum(parts).backward()
        loss += float(sum(parts).detach())
    return loss, [a / n for a, n in zip(plain, totals, strict=True)]


def run_one(given: Heads, communicator: Communicator, ends: dist.ProcessGroup | None, **more) -> str | None:
    """None if a step and an evaluation agree with one process, else what does not. `more`: of the engine."""
    given = replace(given, case=possible(given.case))
    case, limit = given.case, TOLERANCE[given.case.dtype]
    spec = with_extra_heads(read_spec(config_of(case)), given.extra)
    layout = schedule_of(case).layout
    apart = case.barriers == 0 and case.tied and layout.first_rank != layout.last_rank
    engine = engine_of(
        case, spec, communicator, tied_group=ends if apart else None, extra_weight=given.weight, **more
    )
    model, batch = Reference(spec, case), batches(case)
    result = engine.gradients(batch)
    loss, plain = reference_step(model, batch, given)
    if abs(result.loss - loss) > limit * abs(loss):
        return f"loss {result.loss}, reference {loss}"
    seen = [result.cross_entropy, *(total / max(1, n) for total, n in result.extra_heads)]
    if seen != pytest.approx(plain, rel=10 * limit):
        return f"heads' losses {seen}, reference {plain}"
    error, where = worst(assemble(engine, "gradient"), {n: p.grad for n, p in model.named().items()})
    if not error <= limit:
        return f"gradient of {where} is off by {error:.2e} > {limit:.0e}"
    evaluated = engine.evaluate(batch)
    alone = reference_gradients(spec, model.model, batch, case.dtype)
    if evaluated.cross_entropy != pytest.approx(alone, rel=10 * limit) or evaluated.extra_heads:
        return f"evaluation gives {evaluated.cross_entropy} and {evaluated.extra_heads}, reference {alone}"
    return None


def run_replicas(world, given: Heads) -> str | None:
    """On every rank of the pool, each pipeline with half of the microbatches."""
    case, half = given.case, given.case.microbatches // 2
    spec = with_extra_heads(read_spec(config_of(case)), given.extra)
    pipeline, mine = world.replicas, replace(case, microbatches=half)
    engine = engine_of(
        mine, spec, pipeline.communicator, data_group=pipeline.stage, extra_weight=given.weight
    )
    model, batch = Reference(spec, case), batches(case)
    result = engine.gradients(batch[world.rank // 2 * half :][:half])
    loss, plain = reference_step(model, batch, given)
    if abs(result.loss - loss) > 1e-11 * abs(loss):
        return f"loss {result.loss}, reference {loss}"
    seen = [result.cross_entropy, *(total / n for total, n in result.extra_heads)]
    if seen != pytest.approx(plain, rel=1e-10):
        return f"heads' losses {seen}, reference {plain}"
    error, where = worst(assemble(engine, "gradient"), {n: p.grad for n, p in model.named().items()})
    return None if error <= 1e-11 else f"gradient of {where} is off by {error:.2e}"


def run(world, cases: list[Heads]) -> list[str | None]:
    return [
        run_one(given, world.communicators[given.case.ranks], world.ends[given.case.ranks])
        if world.rank < given.case.ranks
        else None
        for given in cases
    ]


def check(pool, cases: list[Heads]) -> None:
    results = pool.run("tests.distributed.test_extra_heads:run", cases)
    wrong = [f"{case}: {found}" for case, found in zip(cases, results[0], strict=True) if found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("barriers", [pytest.param(0, marks=only_full), 1, pytest.param(2, marks=only_full)])
def test_one_step_equals_one_process(pool, barriers):
    base = Case(barriers=barriers, seed=7 + barriers)
    check(
        pool,
        [
            Heads(replace(base, ranks=2, tied=True), extra=1),
            Heads(replace(base, ranks=4, tied=False, rows="uneven", microbatches=9), extra=3, weight=3.0),
            Heads(
                replace(base, ranks=2, tied=False, schedule="zb-h1", ignored="none", packed=False), extra=3
            ),
            Heads(replace(base, ranks=4, tied=True, schedule="v-half", ignored="microbatch"), extra=1),
            Heads(replace(base, ranks=3, architecture="gemma2", recompute=True, rows="one"), extra=2),
            Heads(replace(base, ranks=1, architecture="mistral", split=True), extra=1, weight=0.0),
            Heads(replace(base, architecture="gemma3_text", dtype=torch.float32), extra=1),
            Heads(replace(base, label_smoothing=0.2, z_loss=0.05), extra=3, weight=1.5),
        ],
    )


@only_full
def test_every_schedule_with_drawn_settings(pool):
    draw, cases = random.Random(5), []
    for schedule in names():
        case = Case(
            ranks=draw.choice([2, 4]),
            schedule=schedule,
            barriers=draw.choice([0, 1, 2]),
            tied=draw.choice([True, False]),
            microbatches=draw.choice([3, 6]),
            architecture=draw.choice(["qwen2", "llama", "qwen3", "olmo2"]),
            recompute=draw.choice([True, False]),
            rows=draw.choice(["even", "uneven", "one"]),
            seed=len(cases),
        )
        cases.append(Heads(case, extra=draw.choice([1, 3]), weight=draw.choice([0.3, 2.0])))
    check(pool, cases)


def test_more_heads_than_a_sequence_has_tokens(pool):
    """A sequence has 11: the twelfth head on has no target at all."""
    check(pool, [Heads(Case(barriers=barriers, microbatches=2), extra=12) for barriers in (0, 1)])


@pytest.mark.parametrize("barriers", [1, 2])
def test_two_replicas_share_each_heads_mean(pool, barriers):
    given = Heads(Case(barriers=barriers, microbatches=6, tied=False), extra=2, weight=0.8)
    assert pool.run("tests.distributed.test_extra_heads:run_replicas", given) == [None] * 4
