"""Losses that read more than targets of the batch, on real processes: against autograd of the whole Hugging Face model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.losses import Loss, LossValue, clipped_ratio, loss_named
from pinisi.models import read_spec, reference_inputs
from pinisi.parallel.communicator import Communicator
from tests.distributed.cases import (
    Case,
    assemble,
    batches,
    config_of,
    engine_of,
    reference_model,
    worst,
)
from tests.effort import first

LIMIT = 1e-11
BETA, CLIP = 0.4, 0.2
# The whole step's loss from each microbatch and its lp [b, s], which is 0 at ignored tokens.
Plain = Callable[[list[Microbatch], list[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Setting:
    loss: str  # weighted, dpo, ratio
    case: Case


def half_off(lp: torch.Tensor, lse: torch.Tensor, weights: torch.Tensor, *, aim: torch.Tensor) -> LossValue:
    """-Σ w·aim[0]·lp: a loss of a user, with a vector as long as a microbatch has tokens, which is none per token."""
    g = weights * aim[0]
    return LossValue(-(g * lp).sum(), -g)


LOSSES: dict[str, Loss | None] = {
    "weighted": None,
    "dpo": loss_named("dpo", beta=BETA),
    "ratio": partial(clipped_ratio, clip=CLIP),
    "vector": half_off,
}


def drawn(setting: Setting, old: list[torch.Tensor]) -> list[Microbatch]:
    """The case's microbatches with what its loss reads. old: lp [b, s] of another model."""
    random = torch.Generator().manual_seed(7 + setting.case.seed)
    result = []
    for b, lp in zip(batches(setting.case), old, strict=True):
        shape = b.tokens.shape
        weights = torch.rand(shape, generator=random, dtype=torch.float64) * 3
        weights[torch.rand(shape, generator=random) < 0.2] = 0.0
        if setting.loss == "weighted":
            b = replace(b, weights=weights)
        elif setting.loss == "dpo":
            # the first row holds two pairs' halves, the second another's and tokens of no sequence
            numbers = (
                torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]),
                torch.tensor([4, 4, 4, 4, 5, 5, 5, 5, -1, -1, -1]),
            )
            sequences = torch.stack(numbers)
            reference = torch.stack([lp[sequences == i].sum() for i in range(6)])
            b = replace(b, loss_data={"sequences": sequences, "reference": reference})
        elif setting.loss == "ratio":
            advantages = torch.randn(shape, generator=random, dtype=torch.float64)
            b = replace(b, weights=weights, loss_data={"old": lp, "advantages": advantages})
        else:
            b = replace(
                b, loss_data={"aim": torch.rand(b.tokens.numel(), generator=random, dtype=torch.float64)}
            )
        result.append(b)
    return result


def plain_value(loss: str, batch: list[Microbatch], lps: list[torch.Tensor]) -> torch.Tensor:
    """The formulas as papers have them, over the whole step."""
    weights = [
        torch.where(b.targets != IGNORE, torch.ones(()).double() if b.weights is None else b.weights, 0.0)
        for b in batch
    ]
    total = sum(w.sum() for w in weights)
    if loss == "weighted":
        return -sum((w * lp).sum() for w, lp in zip(weights, lps, strict=True)) / total
    if loss == "vector":
        return -sum(b.loss_data["aim"][0] * lp.sum() for b, lp in zip(batch, lps, strict=True)) / total
    value = torch.zeros((), dtype=torch.float64)
    for b, w, lp in zip(batch, weights, lps, strict=True):
        data = b.loss_data
        if loss == "dpo":
            gain = [lp[data["sequences"] == i].sum() - data["reference"][i] for i in range(6)]
            for i in range(0, 6, 2):
                value = value - F.logsigmoid(BETA * (gain[i] - gain[i + 1])) / (3 * len(batch))
        else:
            ratio, a = torch.exp(lp - data["old"]), data["advantages"]
            value = value - (w * torch.minimum(ratio * a, ratio.clamp(1 - CLIP, 1 + CLIP) * a)).sum() / total
    return value


def plain_lp(spec, model, b: Microbatch) -> torch.Tensor:
    logits = model(**reference_inputs(spec, b.tokens, b.documents, b.positions, torch.float64)).logits
    lp = -F.cross_entropy(logits.flatten(0, 1), b.targets.flatten(), ignore_index=IGNORE, reduction="none")
    return lp.view(b.targets.shape)


def engine_with(setting: Setting, spec, communicator: Communicator, seed: int, case: Case, **more) -> Engine:
    loss = LOSSES[setting.loss]
    more |= {} if loss is None else {"loss": loss}
    return engine_of(replace(case, seed=seed), spec, communicator, **more)


def compare(
    setting: Setting, communicator: Communicator, replica: int = 0, replicas: int = 1, **more
) -> str | None:
    """The gradient step and log_probs of one pipeline, which has its share of the step's microbatches."""
    case = setting.case
    spec = read_spec(config_of(case))
    other = reference_model(spec, replace(case, seed=case.seed + 1))
    with torch.no_grad():
        theirs = [plain_lp(spec, other, b) for b in batches(case)]
    share = case.microbatches // replicas
    half = replace(case, microbatches=share)
    weighted = replace(setting, loss="weighted")
    reference = engine_with(weighted, spec, communicator, case.seed + 1, half, frozen=True)
    held = sum(slot.gradient.untyped_storage().nbytes() for slot in reference.slots)
    if held > 8 * len(reference.slots):
        return f"a frozen engine holds {held} bytes of gradients"
    for ours, lp in zip(reference.log_probs(batches(case)), theirs, strict=True):
        if not torch.allclose(ours, lp, rtol=LIMIT, atol=1e-13):
            return f"log_probs is off by {(ours - lp).abs().max():.1e}"
    # near the model's own, or all ratios are clipped and all sigmoids say 0 or 1
    model = reference_model(spec, case)
    own = [plain_lp(spec, model, b) for b in batches(case)]
    batch = drawn(setting, [a.detach() + 0.1 * (t - a.detach()) for a, t in zip(own, theirs, strict=True)])
    value = plain_value(setting.loss, batch, own)
    value.backward()
    engine = engine_with(setting, spec, communicator, case.seed, half, **more)
    mine = batch[replica * share : (replica + 1) * share]
    result = engine.gradients(mine)
    if abs(result.loss - value.item()) > LIMIT * abs(value.item()):
        return f"loss {result.loss}, reference {value.item()}"
    error, where = worst(assemble(engine, "gradient"), {n: p.grad for n, p in model.named_parameters()})
    if not error <= LIMIT:
        return f"gradient of {where} is off by {error:.2e}"
    seen = engine.evaluate(batch)
    if abs(seen.loss - value.item()) > LIMIT * abs(value.item()):
        return f"evaluated loss {seen.loss}, reference {value.item()}"
    return None


def run(world, settings: list[Setting]) -> list[str | None]:
    return [
        compare(s, world.communicators[s.case.ranks]) if world.rank < s.case.ranks else None for s in settings
    ]


def run_replicas(world, settings: list[Setting]) -> list[str | None]:
    communicator, stage, _ = world.replicas
    return [compare(s, communicator, world.rank // 2, 2, data_group=stage) for s in settings]


@pytest.mark.parametrize("barriers", first(2, [1, 2, 0]))
def test_value_gradients_and_log_probs_are_those_of_one_process(pool, barriers):
    base = Case(barriers=barriers, tied=barriers > 0, microbatches=3, seed=barriers)
    settings = [
        Setting("weighted", base),
        Setting("dpo", replace(base, ranks=3, rows="one", schedule="zb-h1")),
        Setting("dpo", replace(base, architecture="gemma2")),
        Setting("ratio", base),
        Setting("ratio", replace(base, ranks=3, ignored="microbatch", rows="uneven")),
        Setting("vector", base),
    ]
    found = pool.run("tests.distributed.test_custom_losses:run", settings)[0]
    assert found == [None] * len(settings)


@pytest.mark.parametrize("barriers", first(1, [2, 1]))
def test_the_step_is_normalised_over_replicas(pool, barriers):
    case = Case(barriers=barriers, microbatches=4, tied=False)
    settings = [Setting(loss, case) for loss in ("weighted", "dpo", "ratio")]
    for found in pool.run("tests.distributed.test_custom_losses:run_replicas", settings):
        assert found == [None] * len(settings)


def run_wrong(world, _) -> list[str]:
    """What an engine says to batches that its loss can't use."""
    if world.rank >= 2:
        return []
    case = Case(tied=False)
    spec, said = read_spec(config_of(case)), []
    good = [
        replace(b, loss_data={"old": b.tokens * 0.0, "advantages": b.tokens * 1.0}) for b in batches(case)
    ]
    lacking, wrong, weightless, endless = list(good), list(good), list(good), list(good)
    lacking[2] = replace(good[2], loss_data={"old": good[2].loss_data["old"]})
    wrong[1] = replace(good[1], loss_data=good[1].loss_data | {"old": torch.zeros(2, 5)})
    weightless[:] = [replace(b, weights=torch.zeros(b.tokens.shape)) for b in good]
    endless[3] = replace(good[3], weights=torch.full(good[3].tokens.shape, torch.inf))
    engine = engine_with(Setting("ratio", case), spec, world.communicators[2], 0, case)
    for batch in (lacking, wrong, weightless, endless):
        with pytest.raises(DataError) as error:
            engine.gradients(batch)
        said.append(str(error.value))
    return [*said, f"{engine.gradients(good).loss:.6f}"]


def test_every_rank_names_what_the_batch_lacks_and_goes_on(pool):
    found = pool.run("tests.distributed.test_custom_losses:run_wrong")
    assert found[0] == found[1]
    lacking, wrong, weightless, endless, _ = found[0]
    assert "'advantages'" in lacking and "microbatch 2 holds old" in lacking
    assert "microbatch 1" in wrong and "[2, 5]" in wrong and "[2, 11]" in wrong
    assert "sum to 0" in weightless and "not finite" in endless
