"""What is dropped: the same for any number of ranks, replicas, schedules, and with recomputation; nothing but in training."""

from __future__ import annotations

import pytest
import torch

from pinisi.models import read_spec
from pinisi.models.stage import _seeded
from tests.distributed.cases import (
    Case,
    assemble,
    batches,
    config_of,
    engine_of,
    reference_gradients,
    reference_model,
    worst,
)
from tests.effort import first

DROPS = {
    "qwen2": {"attention_dropout": 0.3},
    "gemma2": {"attention_dropout": 0.3},
    "phi3": {"attention_dropout": 0.2, "resid_pdrop": 0.3},
}
WAYS = [
    {"ranks": 1, "barriers": 0},
    {"ranks": 2},
    {"ranks": 2, "recompute": True},
    {"ranks": 4, "barriers": 2, "split": True},
    {"ranks": 2, "schedule": "zbv"},
]


def spec_of(case: Case):
    return read_spec(config_of(case) | DROPS[case.architecture])


def one(world, case: Case, communicator, replica: int = 0, replicas: int = 1, **more):
    """Two steps' losses and the second one's gradients, on this rank's pipeline."""
    engine = engine_of(case, spec_of(case), communicator, seed=7, **more)
    found = []
    for step in range(2):
        result = engine.gradients(batches(all_of(case, replicas), step)[replica::replicas])
        gradient = assemble(engine, "gradient")
        found.append(result.loss)
        engine.update(result, 1e-2)
    return found, gradient, engine


def all_of(case: Case, replicas: int) -> Case:
    return Case(**{**vars(case), "microbatches": case.microbatches * replicas})


def run(world, architecture: str) -> list[str]:
    """On every rank of the pool: what differs from one rank without recomputation."""
    base = Case(ranks=1, microbatches=4, architecture=architecture)
    wanted, gradient, _ = one(world, base, world.communicators[1]) if world.rank == 0 else ([], {}, None)
    faults = []
    for way in WAYS:
        case = Case(**{**vars(base), **way})
        if world.rank >= case.ranks:
            continue
        tied = world.ends[case.ranks] if case.barriers == 0 and case.ranks > 1 else None
        losses, found, _ = one(world, case, world.communicators[case.ranks], tied_group=tied)
        if world.rank == 0:
            faults += compared(str(way), losses, found, wanted, gradient)
    communicator, stage, _ = world.replicas
    half = Case(ranks=2, microbatches=2, architecture=architecture)
    losses, found, _ = one(world, half, communicator, world.rank // 2, 2, data_group=stage)
    if world.rank == 0:
        faults += compared("replicas", losses, found, wanted, gradient)
    return faults


def compared(way: str, losses, gradient, wanted, wanted_gradient) -> list[str]:
    off = max(abs(a - b) for a, b in zip(losses, wanted, strict=True))
    error, where = worst(gradient, wanted_gradient)
    faults = [f"{way}: losses {losses}, wanted {wanted}"] if off > 1e-10 else []
    return faults + ([f"{way}: gradient of {where} is off by {error:.1e}"] if error > 1e-9 else [])


@pytest.mark.parametrize("architecture", first(1, ["phi3", "gemma2", "qwen2"]))
def test_ranks_replicas_and_recomputation_drop_the_same(pool, architecture):
    assert pool.run("tests.distributed.test_dropout:run", architecture) == [[]] * 4


def against_transformers(world, architecture: str) -> list[str]:
    """Rank 0 alone: training drops as transformers does where its layers draw from the same seeds; all else drops nothing."""
    if world.rank:
        return []
    case = Case(ranks=1, microbatches=2, architecture=architecture, tied=False)
    spec, everything = spec_of(case), batches(case)
    engine = engine_of(case, spec, world.communicators[1], seed=7)
    model = reference_model(spec, case)
    still = reference_gradients(spec, model.eval(), everything, case.dtype)
    faults = []
    if abs(engine.evaluate(everything).loss - still) > 1e-11:
        faults.append("evaluation before training drops")
    dropped = engine.gradients(everything).loss
    if abs(dropped - still) < 1e-3:
        faults.append("training drops nothing")
    log_probs = engine.log_probs(everything)
    mean = -sum(lp.sum().item() for lp in log_probs) / sum(b.target_count for b in everything)
    frozen = engine_of(case, spec, world.communicators[1], frozen=True).hidden_states(everything)
    again = engine.hidden_states(everything)
    if abs(engine.evaluate(everything).loss - still) > 1e-11 or abs(mean - still) > 1e-11:
        faults.append("evaluation or log-probabilities after training drop")
    if not all(torch.equal(a, b) for a, b in zip(frozen, again, strict=True)):
        faults.append("hidden states drop")
    wanted = with_seeds(spec, model, engine.dropout.seeds(1, 2), everything, case)
    engine.optimizer.updates = 1
    engine.dropout._update = -1
    if abs(engine.gradients(everything).loss - wanted) > 1e-11:
        faults.append("training drops otherwise than transformers' layers with these seeds")
    return faults


def with_seeds(spec, model, seeds, everything, case) -> float:
    """The mean loss of transformers' whole model in training, each layer drawing from (microbatch's seed, layer)."""
    total = sum(b.target_count for b in everything)
    model.train()
    loss = 0.0
    for seed, batch in zip(seeds, everything, strict=True):
        undo = []
        for index, layer in enumerate(model.model.layers):
            plain = layer.forward

            def drawn(*args, plain=plain, index=index, seed=seed, **kwargs):
                with _seeded(seed, index, torch.device("cpu")):
                    return plain(*args, **kwargs)

            layer.forward = drawn
            undo.append((layer, plain))
        loss += reference_gradients(spec, model, [batch], case.dtype) * batch.target_count / total
        for layer, plain in undo:
            layer.forward = plain
    return loss


@pytest.mark.parametrize("architecture", sorted(DROPS))
def test_dropping_is_transformers_own_and_in_training_alone(pool, architecture):
    assert pool.run("tests.distributed.test_dropout:against_transformers", architecture) == [[]] * 4
