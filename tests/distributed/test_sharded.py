"""An optimizer shared out over replicas against a whole one on each: the same weights, a share of the bytes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pinisi.engine import sharded as sharded_optimizer
from pinisi.engine.engine import Engine
from pinisi.engine.optimizer import NotFinite
from pinisi.engine.sharded import row_parts
from pinisi.models import read_spec
from pinisi.train.saved import resume_engine, save_engine
from tests.distributed.cases import Case, batches, config_of, engine_of


def engine_on(world, case: Case, sharded: bool) -> Engine:
    """Of two pipelines of two ranks; in several buckets."""
    sharded_optimizer.BUCKET = 8000
    communicator, stage, ends = world.replicas
    tied = ends if case.barriers == 0 and case.tied else None
    half = replace(case, microbatches=case.microbatches // 2)
    spec = read_spec(config_of(case))
    return engine_of(half, spec, communicator, data_group=stage, tied_group=tied, sharded=sharded)


def train(engine: Engine, case: Case, replica: int, steps: range) -> list[float]:
    norms = []
    for step in steps:
        m = engine.schedule.microbatches
        result = engine.gradients(batches(case, step)[replica * m : (replica + 1) * m])
        if step == 1:  # a step left out leaves nothing behind
            result.loss = math.nan
            with pytest.raises(NotFinite):
                engine.update(result, 1e-2)
            engine.skip()
        else:
            norms.append(engine.update(result, 1e-2 / (step + 1)))
    return norms


def state_bytes(engine: Engine) -> int:
    """Of moments and, in 16 bit, master weights."""
    held = zip(engine.optimizer.state(), engine.optimizer.slots, strict=True)
    return sum(
        t.nbytes for kept, slot in held for t in kept.values() if t.data_ptr() != slot.parameter.data_ptr()
    )


def on_and_off(world, case: Case) -> tuple[str | None, int, int]:
    """What differs, and the bytes of a whole optimizer and of this rank's share."""
    whole, shared = engine_on(world, case, False), engine_on(world, case, True)
    frozen = whole.optimizer.frozen or shared.optimizer.frozen
    norms = [train(engine, case, world.rank // 2, range(4)) for engine in (whole, shared)]
    wrong = "frozen" if frozen else None if norms[0] == norms[1] else f"norms {norms}"
    if not wrong and norms[0][0] <= 0.05:
        wrong = "nothing was clipped"
    for a, b in zip(whole.slots, shared.slots, strict=True):
        if not torch.equal(a.parameter, b.parameter):
            wrong = wrong or f"{a.name} differs"
    return wrong, state_bytes(whole), state_bytes(shared)


@pytest.mark.parametrize(
    "case",
    [
        Case(barriers=1, microbatches=6, dtype=torch.float32),
        Case(barriers=2, microbatches=6, tied=False, schedule="zb-h1"),
        Case(barriers=0, microbatches=6, dtype=torch.bfloat16),
        Case(barriers=1, microbatches=6, dtype=torch.bfloat16, tied=False, rows="uneven", split=True),
    ],
    ids=["fp32", "fp64-split-backward", "bf16-tied-ends-apart", "bf16-uneven"],
)
def test_two_replicas_train_the_same_weights_to_the_bit_with_half_the_bytes(pool, case):
    for wrong, whole, share in pool.run("tests.distributed.test_sharded:on_and_off", case):
        assert wrong is None
        assert 0.48 <= share / whole <= 0.52, (whole, share)


def three(world, case: Case) -> tuple[float, float] | None:
    """The largest relative difference of a weight over three replicas of one rank, and the share of bytes."""
    group = dist.new_group([0, 1, 2])
    alone = [dist.new_group([rank]) for rank in range(3)]
    if world.rank == 3:
        return None
    from pinisi.parallel.communicator import Communicator

    names = {key: alone[world.rank] for key in world.communicators[4].groups}
    communicator = Communicator([world.rank], 0, names, alone[world.rank])
    third = replace(case, ranks=1, microbatches=case.microbatches // 3)
    spec = read_spec(config_of(third))
    whole, shared = (
        engine_of(third, spec, communicator, data_group=group, sharded=on) for on in (False, True)
    )
    for engine in (whole, shared):
        train(engine, case, world.rank, range(4))
    far = max(
        float((a.parameter - b.parameter).abs().max() / a.parameter.abs().max())
        for a, b in zip(whole.slots, shared.slots, strict=True)
    )
    return far, state_bytes(shared) / state_bytes(whole)


def test_three_replicas_train_the_same_weights(pool):
    found = pool.run("tests.distributed.test_sharded:three", Case(ranks=1, microbatches=6))[:3]
    assert all(far <= 1e-12 for far, _ in found), found
    assert all(abs(share - 1 / 3) <= 0.02 for _, share in found), found


def resumed(world, given: tuple[Case, str]) -> str | None:
    """Saved by two replicas, read by one, saved, and read by two again."""
    case, folder = given[0], Path(given[1])
    unbroken, first = engine_on(world, case, True), engine_on(world, case, True)
    for engine, steps in ((unbroken, range(4)), (first, range(3))):
        train(engine, case, world.rank // 2, steps)
    save_engine(first, folder, 3)
    third = engine_on(world, case, False)
    if resume_engine(third, folder) != 3:
        return "not resumed"
    save_engine(third, folder, 4)
    fourth = engine_on(world, case, True)
    if resume_engine(fourth, folder) != 4 or fourth.optimizer.updates != third.optimizer.updates:
        return "not resumed again"
    for engine in (third, fourth):
        train(engine, case, world.rank // 2, range(3, 4))
        for a, b in zip(unbroken.slots, engine.slots, strict=True):
            if not torch.equal(a.parameter, b.parameter):
                return f"{a.name} differs"
    return None


@pytest.mark.parametrize("barriers", [0, 1])
def test_a_checkpoint_goes_on_with_and_without_shares(pool, barriers, tmp_path):
    case = Case(barriers=barriers, microbatches=6, dtype=torch.bfloat16 if barriers else torch.float32)
    assert pool.run("tests.distributed.test_sharded:resumed", (case, str(tmp_path))) == [None] * 4


@pytest.mark.parametrize("replicas", [1, 2, 3, 8])
def test_every_row_has_one_owner_and_shares_are_even(replicas):
    shapes = [(7, 5), (3,), (), (2, 4, 3), (64, 32), (32,), (151, 8), (0, 4)] * 3
    load = [0] * replicas
    for shape, parts in zip(shapes, row_parts(shapes, replicas), strict=True):
        rows = shape[0] if shape else 1
        assert [i for part in parts for i in part] == list(range(rows))
        for k, part in enumerate(parts):
            load[k] += len(part) * math.prod(shape[1:])
    assert max(load) - min(load) <= 64  # of some thousands: two of the longest rows or vectors
