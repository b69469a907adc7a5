"""Two pipelines side by side, each with half of a step's microbatches, against one process with all of them."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from pinisi.models import read_spec
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


def run(world, case: Case) -> str | None:
    """On every rank of the pool."""
    communicator, stage, ends = world.replicas
    replica, spec = world.rank // 2, read_spec(config_of(case))
    tied = ends if case.barriers == 0 and case.tied else None
    half = Case(**{**vars(case), "microbatches": case.microbatches // 2})
    engine = engine_of(half, spec, communicator, data_group=stage, tied_group=tied)
    everything = batches(case)
    mine = everything[replica * half.microbatches : (replica + 1) * half.microbatches]
    result = engine.gradients(mine, stop=world.rank == 3)
    model = reference_model(spec, case)
    loss = reference_gradients(spec, model, everything, case.dtype)
    if abs(result.loss - loss) > 1e-11 * abs(loss):
        return f"loss {result.loss}, reference {loss}"
    held = torch.tensor([float(sum(slot.gradient.nbytes for slot in engine.slots))])
    dist.all_reduce(held, group=communicator.world)
    if result.bytes_sent["REDUCE"] != int(held):
        return f"{result.bytes_sent['REDUCE']} bytes were summed over replicas of {int(held)}"
    if not result.stop:
        return "rank 3's wish to stop did not come"
    if result.targets != sum(b.target_count for b in everything):
        return f"{result.targets} targets"
    error, where = worst(assemble(engine, "gradient"), {n: p.grad for n, p in model.named_parameters()})
    if not error <= 1e-11:
        return f"gradient of {where} is off by {error:.2e}"
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
    if abs(result.squared_norm**0.5 - norm) > 1e-10 * norm:
        return f"norm {result.squared_norm**0.5}, reference {norm}"
    seen = engine.evaluate(everything)
    if seen.targets != result.targets or sum(n for _, n in seen.by_language) != result.targets:
        return f"an evaluation on both replicas counts {seen.by_language} of {result.targets} targets"
    if abs(seen.loss - loss) > 1e-11 * abs(loss):
        return f"evaluated loss {seen.loss}, reference {loss}"
    return None


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("tied", [True, False])
def test_gradients_are_those_of_all_microbatches(pool, barriers, tied):
    case = Case(barriers=barriers, tied=tied, microbatches=6, seed=barriers)
    assert pool.run("tests.distributed.test_replicas:run", case) == [None] * 4
