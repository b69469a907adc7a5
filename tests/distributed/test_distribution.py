"""Entropy and distillation on real processes: against autograd of whole Hugging Face models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.traffic import step_bytes
from pinisi.losses import Loss, RegularizedCrossEntropy, WithDistillation, WithEntropy, weighted_cross_entropy
from pinisi.models import read_spec, reference_inputs
from pinisi.parallel.communicator import Communicator
from tests.distributed import cases
from tests.distributed.cases import (
    Case,
    assemble,
    batches,
    config_of,
    possible,
    reference_model,
    worst,
)
from tests.effort import first

LIMIT = 1e-11


@dataclass(frozen=True)
class Setting:
    """share > 0: with a teacher of another architecture, width and schedule."""

    case: Case
    bonus: float = 0.0
    share: float = 0.0
    z_loss: float = 0.0

    @property
    def loss(self) -> Loss:
        loss: Loss = weighted_cross_entropy
        if self.z_loss:
            loss = RegularizedCrossEntropy(self.case.vocabulary, z_loss=self.z_loss)
        loss = WithEntropy(loss, self.bonus) if self.bonus else loss
        return WithDistillation(loss, self.share) if self.share else loss


def teacher_case(case: Case) -> Case:
    return replace(case, architecture="gemma2", schedule="gpipe", barriers=2, tied=True, seed=case.seed + 5)


def config_of_teacher(case: Case) -> dict:
    return config_of(teacher_case(case)) | {"hidden_size": 24, "num_hidden_layers": 4}


def engine_of(case: Case, config: dict, communicator: Communicator, **more) -> Engine:
    return cases.engine_of(case, read_spec(config), communicator, **more)


def logits_of(model, spec, b: Microbatch) -> torch.Tensor:
    return model(**reference_inputs(spec, b.tokens, b.documents, b.positions, torch.float64)).logits


def plain(setting: Setting, batch: list[Microbatch]) -> tuple[float, dict[str, torch.Tensor]]:
    """The step's loss and every gradient, from whole logits."""
    case = setting.case
    spec = read_spec(config_of(case))
    model, total = reference_model(spec, case), 0.0
    theirs = read_spec(config_of_teacher(case))
    teacher = reference_model(theirs, teacher_case(case))
    weights = [
        torch.where(b.targets != IGNORE, torch.ones(()).double() if b.weights is None else b.weights, 0)
        for b in batch
    ]
    for b, w in zip(batch, weights, strict=True):
        logits = logits_of(model, spec, b)
        log_p = logits.log_softmax(-1)
        each = -log_p.gather(2, b.targets.clamp(min=0)[..., None])[..., 0]
        each = (
            each + setting.z_loss * logits.logsumexp(-1) ** 2 + setting.bonus * (log_p.exp() * log_p).sum(-1)
        )
        if setting.share:
            with torch.no_grad():
                log_q = logits_of(teacher, theirs, b).log_softmax(-1)
            divergence = (log_q.exp() * (log_q - log_p)).sum(-1)
            each = (1 - setting.share) * each + setting.share * divergence
        value = (w * each).sum() / sum(of.sum() for of in weights)
        value.backward()
        total += value.item()
    return total, {n: p.grad for n, p in model.named_parameters()}


def compare(setting: Setting, communicator: Communicator) -> str | None:
    case = setting.case
    random = torch.Generator().manual_seed(case.seed)
    batch = [
        replace(b, weights=torch.rand(b.tokens.shape, generator=random, dtype=torch.float64))
        for b in batches(case)
    ]
    teacher = None
    if setting.share:
        teacher = engine_of(teacher_case(case), config_of_teacher(case), communicator, frozen=True)
    engine = engine_of(case, config_of(case), communicator, loss=setting.loss, teacher=teacher)
    value, gradients = plain(setting, batch)
    seen = engine.evaluate(batch).loss
    lp = engine.log_probs(batch)
    result = engine.gradients(batch)
    if max(abs(result.loss - value), abs(seen - value)) > LIMIT * max(1.0, abs(value)):
        return f"loss {result.loss}, evaluated {seen}, reference {value}"
    error, where = worst(assemble(engine, "gradient"), gradients)
    if not error <= LIMIT:
        return f"gradient of {where} is off by {error:.2e}"
    mean = -sum(of.sum() for of in lp).item() / sum(b.target_count for b in batch)
    if abs(mean - result.cross_entropy) > LIMIT * mean:
        return f"log_probs give {mean}, the step {result.cross_entropy}"
    if case.barriers:
        rows = 3 + bool(setting.bonus) + 4 * bool(setting.share)
        sizes = {"hidden": engine.spec.hidden, "dtype": case.dtype, "statistics": rows}
        wanted = step_bytes(batch, engine.layout, engine.shards, **sizes)
        sent = {c: sum(rank.get(c, 0) for rank in wanted) for rank in wanted for c in rank}
        if result.bytes_sent != sent:
            return f"bytes {result.bytes_sent}, the formula says {sent}"
    return None


def run(world, settings: list[Setting]) -> list[str | None]:
    return [
        compare(s, world.communicators[s.case.ranks]) if world.rank < s.case.ranks else None for s in settings
    ]


def check(pool, settings: list[Setting]) -> None:
    found = pool.run("tests.distributed.test_distribution:run", settings)[0]
    assert found == [None] * len(settings)


@pytest.mark.parametrize("barriers", first(2, [1, 2, 0]))
def test_an_entropy_bonus_or_penalty(pool, barriers):
    base = Case(barriers=barriers, microbatches=3, seed=barriers, tied=barriers > 0)
    check(
        pool,
        [
            Setting(base, bonus=0.3, z_loss=0.05),
            Setting(replace(base, ranks=3, architecture="gemma2", rows="one", schedule="zb-h1"), bonus=-0.5),
        ],
    )


@pytest.mark.parametrize("barriers", [1, 2])
def test_distillation_from_another_model(pool, barriers):
    base = Case(barriers=barriers, microbatches=3, seed=barriers)
    check(
        pool,
        [
            Setting(base, share=1.0),
            Setting(possible(replace(base, ranks=3, rows="uneven", schedule="v-half")), bonus=0.2, share=0.4),
        ],
    )


def refused(world, _) -> list[str]:
    if world.rank >= 2:
        return []
    case, said = Case(tied=False), []
    teacher = engine_of(teacher_case(case), config_of_teacher(case), world.communicators[2])
    distil = WithDistillation()
    smooth = WithEntropy(RegularizedCrossEntropy(case.vocabulary, 0.1, 0.0), 0.1)
    for wrong, more in (
        (case, {"loss": distil}),
        (case, {"teacher": teacher}),
        (replace(case, barriers=0), {"loss": distil, "teacher": teacher}),
        (replace(case, rows="uneven"), {"loss": distil, "teacher": teacher}),
        (case, {"loss": smooth}),
    ):
        with pytest.raises(ConfigError) as error:
            engine_of(wrong, config_of(wrong), world.communicators[2], **more)
        said.append(str(error.value))
    frozen = engine_of(case, config_of(case), world.communicators[2], frozen=True)
    with pytest.raises(ConfigError) as error:
        frozen.gradients(batches(case))
    return [*said, str(error.value)]


def test_what_does_not_go_together_is_refused(pool):
    first, second = pool.run("tests.distributed.test_distribution:refused")[:2]
    assert first == second
    for said, words in zip(
        first,
        ("a teacher needs", "such a loss a teacher", "0 barriers", "same rows", "label smoothing", "frozen"),
        strict=True,
    ):
        assert words in said
